"""What a person at node 0 should know of strangers at the port: a line in a while, however many there are."""

from __future__ import annotations

import time

_EVERY_S = 5.0


class Notices:
    """Texts that wait to be shown."""

    def __init__(self) -> None:
        self.waiting: list[str] = []
        self._said, self._left_out = float("-inf"), 0

    def add(self, text: str) -> None:
        """Keeps the text, or counts it where one was kept a moment ago."""
        now = time.monotonic()
        if now - self._said < _EVERY_S:
            self._left_out += 1
            return
        more = f" ({self._left_out} more since the last such line)" if self._left_out else ""
        self._said, self._left_out = now, 0
        self.waiting.append(text + more)

    def take(self) -> list[str]:
        """The texts, each once."""
        return [self.waiting.pop(0) for _ in range(len(self.waiting))]
