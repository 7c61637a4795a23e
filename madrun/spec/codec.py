"""Frozen dataclasses to JSON and back; canonical text for hashing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, TypeVar

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dataclasses, maps and tuples as what JSON knows: dict, list, text, number, null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def to_json(value: Any) -> str:
    """Indented JSON for files that people open; non-finite numbers are written as Python writes them."""
    return json.dumps(to_plain(value), indent=1, ensure_ascii=False) + "\n"


def canonical(value: Any) -> str:
    """One spelling for equal data: sorted keys, no spaces; what hashes are taken over."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def from_plain(target: type[T], data: Any) -> T:
    """The dataclass that `to_plain` was given; `spec.validation.Invalid` where the data does not fit."""
    from madrun.spec.validation import validate

    return validate(target, data, strict=False)
