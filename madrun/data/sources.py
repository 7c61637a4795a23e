"""From the names of a card's data to where each lies on this host, and how it gets there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from madrun.data.config import Config
from madrun.errors import DataError
from madrun.spec.codec import sha256
from madrun.spec.credentials import Credentials
from madrun.spec.data import DATA_HOME, Fetch, Source
from madrun.spec.validation import did_you_mean, nearest

_KEYS = ("path", "home", "mirrorlocal", "readwrite", "args")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Where copies go. `by_others`: another node may make the mirror, so that here nothing needs to be there yet."""

    cache: Path
    mirror: str | None = None
    by_others: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The sources that a run has; a name of which data.json says no provider has none, and a note."""

    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = field(default=())


def find_sources(names: tuple[str, ...], config: Config, credentials: Credentials, placing: Placing) -> Found:
    """Each name's data by the first provider, in the order of `PROVIDERS`, that can be had from this host."""
    sources, notes = [], []
    for name in names:
        providers, said = _providers(name, config)
        notes += said
        if providers:
            source, reasons = _source(name, providers, (config, credentials), placing)
            sources.append(source)
            notes += [f"{config.file}: {name}: not from {reason}" for reason in reasons]
    return Found(sources=tuple(sources), notes=tuple(notes))


def _providers(name: str, config: Config) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The checked settings of each known provider, in order; notes about what has no effect."""
    from madrun.data.providers import PROVIDERS

    file, known = config.file, config.names
    if name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise DataError(f"{file}: no data source {name!r}{did_you_mean(name, known)}; known: {names}")
    unknown = [provider for provider in known[name] if provider not in PROVIDERS]
    for provider in unknown:
        if nearest(provider, PROVIDERS):
            raise DataError(f"{file}: {name}: no provider {provider!r}{did_you_mean(provider, PROVIDERS)}")
    found = {provider: known[name][provider] for provider in PROVIDERS if provider in known[name]}
    notes = []
    if not found:
        what = f"no provider that madrun has ({', '.join(unknown)})" if unknown else "no provider"
        notes.append(f"{file}: {name} has {what}: the card runs without these data, and MAD_DATAHOME has none of them")
    for provider, settings in found.items():
        where = f"{file}: {name}.{provider}"
        _check(settings, where)
        idle = [f"{key}{did_you_mean(key, _KEYS)}" for key in settings if key not in _KEYS]
        notes += [f"{where}: {key} has no effect; known: {', '.join(_KEYS)}" for key in idle]
    return found, notes


def _check(settings: Any, where: str) -> None:
    if not isinstance(settings, Mapping):
        raise DataError(f"{where}: found {type(settings).__name__}, allowed: a map with path")
    path = settings.get("path")
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise DataError(f"{where}.path: found {path!r}, allowed: what the provider calls the place")
    home = settings.get("home", DATA_HOME)
    if not isinstance(home, str) or not home.startswith("/") or ":" in home or "," in home:
        raise DataError(
            f"{where}.home: found {home!r}, allowed: an absolute path in the container, without ':' and ','"
        )
    mirror = settings.get("mirrorlocal", "")
    if not isinstance(mirror, str):
        raise DataError(f"{where}.mirrorlocal: found {mirror!r}, allowed: a directory of this host")
    args = settings.get("args", "")
    if not isinstance(args, str):
        raise DataError(f"{where}.args: found {args!r}, allowed: text, as in a shell")
    if str(settings.get("readwrite", "")).lower() not in ("", "true", "false"):
        raise DataError(f'{where}.readwrite: found {settings["readwrite"]!r}, allowed: "true" or "false"')


def _source(
    name: str, providers: Mapping[str, Mapping[str, Any]], known: tuple[Config, Credentials], placing: Placing
) -> tuple[Source, list[str]]:
    """Also why each provider that cannot be had from here cannot."""
    from madrun.data.providers import PROVIDERS
    from madrun.data.work import Unreachable

    config, credentials = known
    fetches, reasons = [], []
    for provider, settings in providers.items():
        try:
            fetches.append(PROVIDERS[provider].read(settings, config.repository, credentials))
        except Unreachable as error:
            reasons.append(f"{provider}: {error}")
    # All nodes have to say the same of the job; what one host lacks, another may have.
    chosen = next(iter(providers)) if placing.by_others or not fetches else fetches[0].provider
    settings = providers[chosen]
    mirror, own = _mirror(settings, f"{config.file}: {name}.{chosen}", placing)
    if not mirror and fetches and fetches[0].provider == "local":
        path, fetches = fetches[0].place, []
    else:
        path = str(Path(mirror, name) if mirror else _cached(placing.cache, name, fetches, config))
        if not fetches and not (mirror and (placing.by_others or Path(path).exists())):
            more = f"; nor is there a mirror {path}" if mirror else ""
            raise DataError(
                f"{config.file}: {name}: no provider of it can be had from this host: {'; '.join(reasons)}{more}"
            )
    source = Source(
        name=name,
        provider=chosen,
        path=path,
        home=settings.get("home", DATA_HOME).rstrip("/") or DATA_HOME,
        fetches=tuple(fetches),
        own=own and bool(fetches),
        writable=str(settings.get("readwrite", "")).lower() == "true",
    )
    is_there = bool(mirror) and Path(path).exists()
    return source, [] if is_there else reasons


def _mirror(settings: Mapping[str, Any], where: str, placing: Placing) -> tuple[str, bool]:
    """The directory of the mirror, empty without one; whether every node fills what it sees there by itself."""
    if placing.mirror is not None:
        return placing.mirror, False
    return check_mirror(settings.get("mirrorlocal") or None, f"{where}.mirrorlocal") or "", True


def _cached(cache: Path, name: str, fetches: list[Fetch], config: Config) -> Path:
    """Where this user keeps what is fetched without a mirror: one place for each source, another for another script."""
    texts = [_digest(config.repository / fetch.place) for fetch in fetches if fetch.provider == "custom"]
    return (
        cache / "data" / sha256([name, [(one.provider, one.place, one.more) for one in fetches[:1]], texts])[:16] / name
    )


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None


def check_mirror(directory: str | None, where: str = "--force-mirror-local") -> str | None:
    """The mirror directory as an absolute path; `DataError` where it does not exist, for it is never created."""
    if directory is None:
        return None
    path = Path(directory).expanduser().absolute()
    if not path.is_dir():
        what = "is not a directory" if path.exists() else "does not exist"
        raise DataError(f"{where}: {path} {what} on this host; make or mount it first")
    return str(path)
