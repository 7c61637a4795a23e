"""The fields of a card as Python or JSON has them, made to what madrun works with; what does not fit is `Wrong`.

Repositories write numbers as text and text as numbers, leave fields empty or null: each of that means what it says.
"""

from __future__ import annotations

import math
from typing import Any

from madrun.spec.mad import ALL_GPUS

Entry = dict[str, Any]
MISSING = object()


class Wrong(Exception):
    """A field of a type or value that has no meaning: its key, what was found, what is allowed."""

    def __init__(self, key: str, found: object, allowed: str) -> None:
        super().__init__(key)
        self.key, self.found, self.allowed = key, found, allowed

    def __str__(self) -> str:
        if self.found is MISSING:
            return f"is missing and has no default, allowed: {self.allowed}"
        shown = repr(self.found)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        return f"found {shown} ({type(self.found).__name__}), allowed: {self.allowed}"


def text(entry: Entry, key: str) -> str:
    """Text as it stands, a number as it is printed; empty where the field is missing or null."""
    value = entry.get(key)
    if type(value) is str:
        return value
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise Wrong(key, value, "text")


def stated(entry: Entry, key: str) -> str:
    """Text that may be empty, but not missing."""
    if key not in entry:
        raise Wrong(key, MISSING, "text")
    return text(entry, key)


def required(entry: Entry, key: str) -> str:
    """Text that must be there."""
    value = stated(entry, key)
    if not value.strip():
        raise Wrong(key, entry[key], "text that is not empty")
    return value


def words(entry: Entry, key: str) -> tuple[str, ...]:
    """A list of words, or one text with commas between them."""
    value = entry.get(key)
    if not value:
        return ()
    if type(value) is str:
        return tuple(word for word in map(str.strip, value.split(",")) if word)
    if not isinstance(value, list):
        raise Wrong(key, value, "a list of words, or a text with commas between them")
    if all(type(word) is str for word in value):
        return tuple(word for word in map(str.strip, value) if word)
    return tuple(text({key: word}, key) for word in value)


def gpus(entry: Entry, key: str) -> str:
    """A count of GPUs as text; all of them where nothing is said."""
    value = entry.get(key)
    if value is None or value == "":
        return ALL_GPUS
    count = _whole(value)
    if count is None or (count < 1 and count != int(ALL_GPUS)):
        raise Wrong(key, value, f"{ALL_GPUS} for all GPUs, or a whole number >= 1")
    return str(count)


def seconds(entry: Entry, key: str) -> float | None:
    """A time limit: 0 for none, which a card writes as 0 or less; None where the card says nothing."""
    value = entry.get(key)
    if value is None or value == "":
        return None
    try:
        found = math.nan if isinstance(value, (bool, list, dict)) else float(value)
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise Wrong(key, value, "a number of seconds; 0 or less for no limit")
    return max(found, 0.0)


def whole(entry: Entry, key: str) -> int | None:
    """A number >= 1; None where nothing is said."""
    value = entry.get(key)
    if value is None or value == "":
        return None
    number = _whole(value)
    if number is None or number < 1:
        raise Wrong(key, value, "a whole number >= 1")
    return number


_FLAGS = {"": False, "false": False, "0": False, "no": False, "true": True, "1": True, "yes": True}


def flag(entry: Entry, key: str, default: bool) -> bool:
    """True or false, also as text or as 0 and 1."""
    value = entry.get(key)
    if isinstance(value, bool):
        return value
    if value is None or value == "":
        return default
    found = _FLAGS.get(str(value).lower()) if isinstance(value, (str, int)) else None
    if found is None:
        raise Wrong(key, value, "true or false")
    return found


def names_to_values(entry: Entry, key: str) -> dict[str, Any]:
    """An object as it stands; empty where the field is missing, null or an empty text."""
    value = entry.get(key)
    if isinstance(value, dict):
        return value
    if value is None or value == "":
        return {}
    raise Wrong(key, value, "an object of names and values")


def variables(entry: Entry, key: str) -> dict[str, str]:
    """An object of names and texts; numbers become text, for true and false there are several spellings in shells."""
    return {name: _variable(f"{key}.{name}", value) for name, value in names_to_values(entry, key).items()}


def file_name(entry: Entry, key: str) -> str | None:
    """The name of a file, without a folder; None where there is none."""
    value = text(entry, key).strip()
    if "/" in value or value in (".", ".."):
        raise Wrong(key, value, "a file name without a folder")
    return value or None


def patterns(entry: Entry, key: str) -> tuple[str, ...] | None:
    """A list of texts, each of them as it stands; None where the field is missing, null or an empty text."""
    value = entry.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Wrong(key, value, "a list of texts")
    return tuple(value)


def _variable(key: str, value: object) -> str:
    if value is None or isinstance(value, (bool, list, dict)):
        raise Wrong(key, value, "text or a number (true and false in quotes, as the script reads them)")
    return str(value)


def _whole(value: object) -> int | None:
    """The whole number that a number or a text means."""
    try:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return None
        return int(value) if isinstance(value, (str, int)) or value.is_integer() else None
    except (ValueError, OverflowError):
        return None
