"""A console log as the lines that a person saw: in bounded memory, without colours, without bash's own echo."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST = 1 << 16
_BLOCK = 1 << 18
_HEAD = 8  # enough to tell an xtrace line, too short for a `performance:` that the cut would falsify
_CUT = b"..."
_ESCAPE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC and its kin: titles, links
    r"|[ -/]*[0-Z\\^-~]"  # all others, such as the choice of a character set
    r")"
)
_XTRACE = re.compile(r"\++ ")


def pieces(path: Path, sought: tuple[bytes, ...] = (), most: int = sys.maxsize) -> Iterator[tuple[int, bytes]]:
    """What stands between line ends, with the number of its line; a carriage return ends a piece too.

    Of a piece without end only the last 64 KiB are there. Blocks in which nothing of `sought` stands are left out: a
    log of a gigabyte is then read about as fast as the disk gives it. Only the first `most` bytes count.
    """
    number, rest = 1, b""
    with path.open("rb") as log:
        while block := log.read(min(_BLOCK, most)):
            most -= len(block)
            block = rest + block
            if sought and not any(text in block for text in sought):
                number += block.count(b"\n")
                rest = _bounded(block[max(block.rfind(b"\n"), block.rfind(b"\r")) + 1 :])
                continue
            whole = block.splitlines(keepends=True)
            rest = b"" if whole[-1].endswith((b"\n", b"\r")) else _bounded(whole.pop())
            for piece in whole:
                yield number, _bounded(piece)
                number += piece.endswith(b"\n")
    if rest:
        yield number, rest


def _bounded(piece: bytes) -> bytes:
    if len(piece) <= _HEAD + len(_CUT) + LONGEST:
        return piece
    return piece[:_HEAD] + _CUT + piece[-LONGEST:]


def without_escapes(line: str) -> str:
    """The line without colours, titles and what else moves a terminal."""
    return _ESCAPE.sub("", line) if "\x1b" in line else line


def marked(path: Path, mark: str) -> Iterator[tuple[int, str]]:
    """The lines that hold the mark, as text without escape codes; lines that `set -x` printed are none of them."""
    sought = mark.encode()
    for number, piece in pieces(path, (sought, b"\x1b")):
        if sought not in piece and b"\x1b" not in piece:
            continue
        line = without_escapes(piece.decode("utf-8", "replace"))
        if mark in line and not _XTRACE.match(line):
            yield number, line
