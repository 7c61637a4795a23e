"""data.json: {name: {provider: settings}}. Local paths may be relative to the folder of data.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.errors import DataError
from madrun.spec.validation import did_you_mean

FILE_NAME = "data.json"


@dataclass(frozen=True, slots=True)
class Source:
    """One data source of this host; the path exists, or is empty where a mirror serves."""

    name: str
    provider: str
    path: str


def _local(name: str, settings: Any, file: Path) -> Source:
    if not isinstance(settings, dict):
        raise DataError(f"{file}: {name}.local: found {type(settings).__name__}, allowed: a map with path")
    given = settings.get("path")
    if not isinstance(given, str) or not given:
        raise DataError(f"{file}: {name}.local.path: found {given!r}, allowed: a directory or file of this host")
    path = Path(given) if Path(given).is_absolute() else file.parent / given
    return Source(name, "local", str(path))


PROVIDERS: dict[str, Callable[[str, Any, Path], Source]] = {"local": _local}


def find_sources(names: tuple[str, ...], repository: Path, mirror: str | None, by_others: bool = False) -> list[Source]:
    """The sources of these names; with a mirror directory a source itself may be missing if its mirror is there.

    `by_others`: another node may make the mirror, so that here neither needs to be there yet.
    """
    if not names:
        return []
    file = repository / FILE_NAME
    known = _read(file)
    return [_checked(_find(name, known, file), file, mirror, by_others) for name in names]


def _checked(source: Source, file: Path, mirror: str | None, by_others: bool) -> Source:
    if Path(source.path).exists():
        return source
    if mirror is None:
        raise DataError(f"{file}: {source.name}: {source.path} does not exist on this host")
    copy = Path(mirror) / source.name
    if not copy.exists() and not by_others:
        raise DataError(f"{file}: {source.name}: neither {source.path} nor its mirror {copy} exists on this host")
    return Source(source.name, source.provider, "")


def _find(name: str, known: dict[str, Any], file: Path) -> Source:
    if name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise DataError(f"{file}: no data source {name!r}{did_you_mean(name, known)}; known: {names}")
    providers = known[name]
    for provider, read in PROVIDERS.items():
        if provider in providers:
            return read(name, providers[provider], file)
    raise DataError(
        f"{file}: {name}: found providers {', '.join(providers) or 'none'}, allowed: {', '.join(PROVIDERS)}"
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file} does not exist, but the card names data; it maps names to providers") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{file}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    if not isinstance(data, dict) or not all(isinstance(entry, dict) for entry in data.values()):
        raise DataError(f"{file}: allowed: a map of names to maps of providers")
    return data


def check_mirror(directory: str | None) -> str | None:
    """The mirror directory as an absolute path; `DataError` where it does not exist, for it is never created."""
    if directory is None:
        return None
    path = Path(directory).expanduser().absolute()
    if not path.is_dir():
        what = "is not a directory" if path.exists() else "does not exist"
        raise DataError(f"--force-mirror-local: {path} {what} on this host; make or mount it first")
    return str(path)
