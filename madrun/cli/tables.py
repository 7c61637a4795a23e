"""Lines of columns for people."""

from __future__ import annotations

import time
from collections.abc import Sequence

from madrun.units import format_duration

NONE = "-"


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows below their heads, each column as wide as it must be; what is empty is a dash."""
    table = [list(head), *([cell or NONE for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def age(moment: float | None, now: float | None = None) -> str:
    """How long ago a moment was; empty where it is not known."""
    if not moment:
        return ""
    return format_duration(max(0.0, (time.time() if now is None else now) - moment))


def clock(moment: float) -> str:
    """A moment of the epoch in UTC, as run ids have it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(moment))


def many(count: int, word: str, ending: str = "s") -> str:
    """`1 run`, `2 runs`."""
    return f"{count} {word}{'' if count == 1 else ending}"


def some(words: Sequence[str], shown: int) -> str:
    """The first of these words, and how many more there are."""
    return ", ".join(words[:shown]) + (f" and {len(words) - shown} more" if len(words) > shown else "")
