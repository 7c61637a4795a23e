"""Where the entries of a models.json begin, and their keys: lines, found without reading the JSON a second way."""

from __future__ import annotations

import bisect
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_SPACE = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class Entry:
    """One entry of a models.json as it stands there; `line` is where it begins."""

    values: dict[str, Any]
    text: str
    line: int

    def line_of(self, key: str) -> int:
        """The line of the key; that of the entry where the key is not in it."""
        found = re.search(rf'"{re.escape(key)}"\s*:', self.text)
        return self.line + (self.text.count("\n", 0, found.start()) if found else 0)

    @cached_property
    def name(self) -> str:
        """The name without the folder; empty where there is none."""
        name = self.values.get("name")
        return name if isinstance(name, str) else ""


def entries(text: str) -> list[Entry]:
    """Every object of the list; as many as can be read of a broken one. Never raises."""
    found: list[Entry] = []
    at = len(text) - len(text.lstrip())
    if not text.startswith("[", at):
        return found
    ends = [match.start() for match in re.finditer("\n", text)]
    decoder = json.JSONDecoder()
    at += 1
    while True:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing as well
        if at >= len(text) or text[at] == "]":
            return found
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return found
        if isinstance(value, dict):
            found.append(Entry(value, text[at:end], bisect.bisect_left(ends, at) + 1))
        at = end
