"""A list of cards in a JSON file, and the line of each card and key, so that an error can say where."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from madrun.errors import CardError
from madrun.spec import jsonfile

_GAP = re.compile(r"[ \t\r\n,:]*")
_DECODER = json.JSONDecoder()


def read_json(path: Path) -> tuple[str, Any]:
    """The text of the file and what it holds; `CardError` with line and column where it is not JSON."""
    try:
        return jsonfile.read_json(path)
    except FileNotFoundError:
        raise CardError(f"{path}: cannot be read: No such file or directory") from None
    except jsonfile.Unreadable as error:
        raise CardError(str(error)) from None


def starts_of(text: str) -> list[int]:
    """Where each entry of the list in the text begins. Reads again: errors are rare."""
    at, starts = _after(text, text.index("[") + 1), []
    while text[at] != "]":
        starts.append(at)
        at = _after(text, _DECODER.raw_decode(text, at)[1])
    return starts


def line_of(text: str, start: int, key: str | None = None) -> int:
    """The line (from 1) of the entry that begins at `start`, or of its key where it has it."""
    at = _key(text, start, key) if key is not None and text[start] == "{" else start
    return text.count("\n", 0, at) + 1


def _key(text: str, entry: int, key: str) -> int:
    """Where the key stands that counts, the last of its name; the entry itself where it is not there."""
    at, found = _after(text, entry + 1), entry
    while text[at] == '"':
        name, end = _DECODER.raw_decode(text, at)
        found = at if name == key else found
        at = _after(text, _DECODER.raw_decode(text, _after(text, end))[1])
    return found


def _after(text: str, at: int) -> int:
    """Where the next value or key begins."""
    match = _GAP.match(text, at)
    assert match is not None
    return match.end()
