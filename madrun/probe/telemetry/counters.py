"""Files of /proc and /sys that are opened once and read often, and counters that only ever grow."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_MOST = 1 << 16


class Kept:
    """A small file of the kernel, held open: one system call for each look at it."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd: int | None = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            self._fd = None

    def text(self, most: int = _MOST) -> str:
        """Its text, as much as `most` bytes; empty where it cannot be read (any more)."""
        if self._fd is None:
            return ""
        try:
            return os.pread(self._fd, most, 0).decode("utf-8", "replace")
        except OSError:
            return ""

    def number(self) -> float | None:
        """The one whole number in it; None where there is none."""
        return whole(self.text(64))

    def close(self) -> None:
        """Gives the file back."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)


class Rate:
    """Growth of a counter per second. A counter that was reset or wrapped says nothing of that interval."""

    def __init__(self) -> None:
        self._value: float | None = None
        self._at = 0.0

    def of(self, value: float | None, at: float) -> float | None:
        """By how much it grew each second since the last reading; None for the first one and after a gap."""
        before, then = self._value, self._at
        self._value, self._at = value, at
        if value is None or before is None or at <= then or value < before:
            return None
        return (value - before) / (at - then)


def whole(text: str) -> float | None:
    """The text as a number where it is a whole one; else None."""
    text = text.strip()
    digits = text.removeprefix("-")
    return float(text) if digits.isascii() and digits.isdecimal() else None


def scaled(value: float | None, factor: float) -> float | None:
    """The value in another unit; None stays None."""
    return None if value is None else value * factor


def close_all(files: Iterable[Kept]) -> None:
    """Gives them all back."""
    for file in files:
        file.close()
