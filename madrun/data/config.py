"""data.json: {name: {provider: settings}}, under what the context says of the same names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from madrun.errors import DataError
from madrun.spec.jsonfile import Unreadable, read_json

FILE_NAME = "data.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What is known of each name; `file` is where errors point to, and paths in it start at `repository`."""

    file: Path
    repository: Path
    names: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def check_named(file: str | None) -> None:
    """`DataError` where a file was named that is not there, before any card asks for it."""
    if file and not Path(file).expanduser().is_file():
        raise DataError(f"--data-config: {Path(file).expanduser().absolute()} does not exist or is not a file")


def read_config(repository: Path, file: str | None, said: Mapping[str, Any]) -> Config:
    """`file`: another one than data.json of the repository; `said`: the context's `data`, which counts before it."""
    path = Path(file).expanduser().absolute() if file else repository / FILE_NAME
    missing_is_wrong = bool(file) or not said
    known = _read(path, "--data-config: " if file else "", missing_is_wrong)
    merged = dict(known)
    for name, providers in said.items():
        if providers is not None and not isinstance(providers, Mapping):
            raise DataError(f"context: data.{name}: found {providers!r}, allowed: a map of providers, or null for none")
        merged[name] = {} if providers is None else _merged(merged.get(name, {}), providers)
    return Config(file=path, repository=repository, names=merged)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Maps are merged; anything else replaces, and null takes away."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merged(under, value) if isinstance(value, Mapping) and isinstance(under, Mapping) else value
    return {key: value for key, value in merged.items() if value is not None}


def _read(file: Path, option: str, missing_is_wrong: bool) -> dict[str, Any]:
    try:
        _, data = read_json(file)
    except FileNotFoundError:
        if not missing_is_wrong:
            return {}
        hint = "" if option else ", but the card names data; it maps names to providers"
        raise DataError(f"{option}{file} does not exist{hint}") from None
    except Unreadable as error:
        raise DataError(f"{option}{error}") from None
    if not isinstance(data, dict) or not all(isinstance(entry, dict) for entry in data.values()):
        raise DataError(f"{option}{file}: allowed: a map of names to maps of providers")
    return data
