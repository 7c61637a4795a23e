"""Collections that stay small however much is put in, and hold the same whatever the order."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import Generic, TypeVar

T = TypeVar("T", str, int)


class Smallest(Generic[T]):
    """So many different values, the smallest of all that came, sorted; each with how often it came.

    A value that is among the smallest in the end was so all the time: its count is complete.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._sorted: list[T] = []
        self._counts: dict[T, int] = {}

    def add(self, value: T) -> None:
        """One more."""
        if value in self._counts:
            self._counts[value] += 1
            return
        if len(self._sorted) == self._most:
            if bisect_left(self._sorted, value) == self._most:
                return
            del self._counts[self._sorted.pop()]
        insort(self._sorted, value)
        self._counts[value] = 1

    def all(self) -> tuple[T, ...]:
        """The values."""
        return tuple(self._sorted)

    def counts(self) -> dict[T, int]:
        """How often each came."""
        return {value: self._counts[value] for value in self._sorted}
