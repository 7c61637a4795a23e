"""Colour where a terminal shows it and nobody has refused it."""

from __future__ import annotations

import os
from collections.abc import Mapping

_COLOURS = {"SUCCESS": "\x1b[32m", "FAILURE": "\x1b[31m", "SKIPPED": "\x1b[33m"}
_PLAIN = "\x1b[0m"


def wanted(fd: int, env: Mapping[str, str] = os.environ) -> bool:
    """Whether text on this file descriptor may be coloured: a terminal, no NO_COLOR (no-color.org), no TERM=dumb."""
    try:
        terminal = os.isatty(fd)
    except OSError:
        return False
    return terminal and not env.get("NO_COLOR") and env.get("TERM") != "dumb"


def painted(lines: list[str], coloured: bool) -> list[str]:
    """The lines with the word of a verdict in its colour, at the start of a line or as a column of a table."""
    return [_painted(line) for line in lines] if coloured else lines


def _painted(line: str) -> str:
    for word, colour in _COLOURS.items():
        if line.startswith(word) or (line.startswith("  ") and f"  {word}  " in line):
            return line.replace(word, f"{colour}{word}{_PLAIN}", 1)
    return line
