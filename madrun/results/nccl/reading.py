"""Logs of which some lines may be NCCL's: read to a bound, as much as is needed to know what the ranks talk over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from madrun.results.loglines import pieces, without_escapes
from madrun.results.nccl.listening import MARK, Listening
from madrun.results.regular import NotRegular, open_regular
from madrun.spec.transport import NodeTransport

MOST_READ = 64 << 20  # bytes of one log: NCCL speaks while it starts, and a log may be of any size
# Lines of all logs together, about a second's work. A process says what matters in its first hundred; beyond come the
# connections, of which those of a thousand ranks fill megabytes.
MOST_LINES = 100_000


def heard_in(paths: Sequence[Path]) -> NodeTransport:
    """What NCCL or RCCL say in these files together; a file that cannot be read says nothing."""
    listening = Listening()
    most = MOST_LINES // max(1, len(paths))
    for path in paths:
        with suppress(OSError, NotRegular):
            for line in islice(_lines(path), most):
                listening.take(line)
    return listening.heard


def _lines(path: Path) -> Iterator[str]:
    sought = MARK.encode()
    open_regular(path).close()
    for _, piece in pieces(path, (sought,), MOST_READ):
        if sought in piece:
            yield without_escapes(piece.decode("utf-8", "replace"))
