"""What of a copy has been done, line by line, so that a later process goes on from there."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any


class Journal:
    """Lines of JSON, appended when what they say is true; one that a kill has cut is left out."""

    def __init__(self, path: Path) -> None:
        self.lines: set[tuple[Any, ...]] = set()
        self._path, self._lock = path, threading.Lock()
        if path.exists():
            text = path.read_text(encoding="ascii", errors="replace")
            self.lines = {line for one in text.splitlines() if (line := _parsed(one))}
            if text and not text.endswith("\n"):
                self._append("\n")

    def __contains__(self, line: tuple[Any, ...]) -> bool:
        return line in self.lines

    def add(self, *line: Any) -> None:
        """From any thread."""
        with self._lock:
            self.lines.add(line)
            self._append(json.dumps(line, ensure_ascii=True) + "\n")

    def _append(self, text: str) -> None:
        with self._path.open("a", encoding="ascii") as file:
            file.write(text)


def _parsed(text: str) -> tuple[Any, ...]:
    try:
        found = json.loads(text)
        return tuple(found) if isinstance(found, list) and found else ()
    except ValueError:
        return ()
