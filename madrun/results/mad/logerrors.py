"""Lines of a log that speak against a run of a MAD card, though its script may have ended well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from madrun.spec.mad import LogErrors

PATTERNS = (
    "OutOfMemoryError",
    "HIP out of memory",
    "CUDA out of memory",
    "RuntimeError:",
    "AssertionError:",
    "ValueError:",
    "SystemExit",
    "failed (exitcode:",
    "Traceback (most recent call last)",
    "FAILED",
    "Exception:",
    "ImportError:",
    "ModuleNotFoundError:",
)
BENIGN = (
    "FutureWarning",
    "rocpd_op:",
    "rpd_tracer:",
    "[rocprofv3]",
    "[rocprofiler-sdk]",
    "Failed to establish connection to the metrics exporter agent",
)
# What the logging of Google's libraries puts in front, which profilers of ROCm use for lines that are no errors.
_GLOG = re.compile(rb"[IWEF]\d{8} \d\d:\d\d:\d\d\.\d+ +\d+ [\w./-]+:\d+\]")
_XTRACE = re.compile(rb"\++ ")
_ESCAPE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
_BLOCK = 1 << 20
_LONGEST = 1 << 16
_SHOWN = 160
MOST = 3  # lines that are told of; a log that goes on is read no further


@dataclass(frozen=True, slots=True)
class LogError:
    """One line of a log, its number, and the pattern in it."""

    number: int
    pattern: str
    text: str

    def said(self, name: str) -> str:
        """In words, with the name of the log."""
        return f"{name}:{self.number}: {self.text} (error pattern {self.pattern!r})"


def errors_in(log: Path, rules: LogErrors) -> tuple[LogError, ...]:
    """The first lines that hold a pattern and nothing benign; none where the scan is switched off.

    Patterns are literal texts, those of the rules in the place of the usual ones. What bash's `set -x` printed counts
    for nothing: a command that looks for an error is none.
    """
    patterns = [text for text in (PATTERNS if rules.patterns is None else rules.patterns) if text]
    if not rules.scan or not patterns:
        return ()
    sought = [text.encode() for text in patterns]
    benign = [text.encode() for text in (*BENIGN, *rules.benign) if text]
    found: list[LogError] = []
    for number, line in _suspects(log, sought):
        plain = _ESCAPE.sub(b"", line)
        pattern = next((text for text in sought if text in plain), None)
        if pattern is None or _XTRACE.match(plain) or _GLOG.match(plain) or any(text in plain for text in benign):
            continue
        shown = " ".join(plain.decode("utf-8", "replace").split())
        cut = f"{shown[:_SHOWN]}..." if len(shown) > _SHOWN else shown
        found.append(LogError(number, pattern.decode(), "".join(c for c in cut if c.isprintable())))
        if len(found) == MOST:
            break
    return tuple(found)


def _suspects(log: Path, sought: list[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines of blocks in which a pattern stands, with their numbers; blocks without one are not taken apart."""
    number, rest = 1, b""
    with log.open("rb") as file:
        while block := file.read(_BLOCK):
            whole, _, rest = (rest + block).rpartition(b"\n")
            if len(rest) > _LONGEST:
                # A line without end: it is looked at in pieces, each of which begins with the end of the one before.
                whole, rest = (whole + b"\n" + rest if whole else rest), rest[len(rest) - _overlap(sought) :]
            yield from _lines(whole, number, sought)
            number += block.count(b"\n")
    yield from _lines(rest, number, sought)


def _overlap(sought: list[bytes]) -> int:
    return max(map(len, sought)) - 1


def _lines(whole: bytes, number: int, sought: list[bytes]) -> Iterator[tuple[int, bytes]]:
    here = [text for text in sought if text in whole]
    if not here:
        return
    for index, line in enumerate(whole.split(b"\n")):
        if not any(text in line for text in here):
            continue
        for piece in line.split(b"\r"):
            if any(text in piece for text in here):
                yield number + index, piece
