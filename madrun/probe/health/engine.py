"""What the engine says of itself: GET /info (Docker Engine API, SystemInfo; podman answers the same under its name)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from madrun.probe.health.disks import disks
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.facts import Engine
from madrun.spec.health import Disk, EngineState


def engine(source: Source, known: Engine) -> EngineState:
    """The engine's own word beside the facts that are known already; `Unreadable` where it does not answer."""
    info = source.engine_info(known.name)
    version = info.get("ServerVersion") if isinstance(info, Mapping) else None
    if not isinstance(version, str) or not version:
        raise Unreadable(f"{known.name}: its answer to /info has no ServerVersion")
    warnings = info.get("Warnings")
    disk, unread = _disk(source, known, _root(info))
    cgroup = _word(info, "CgroupVersion")
    return EngineState(
        name=known.name,
        version=version,
        storage=_word(info, "Driver"),
        cgroup=f"cgroup v{cgroup} by {_word(info, 'CgroupDriver') or '?'}" if cgroup else "",
        runtimes=tuple(sorted(info["Runtimes"])) if isinstance(info.get("Runtimes"), dict) else known.runtimes,
        cdi=known.cdi,
        disk=disk,
        unread=unread,
        warnings=tuple(str(line)[:200] for line in warnings) if isinstance(warnings, list) else (),
    )


def _root(info: Mapping[str, Any]) -> str:
    """Docker's directory, or podman's: its compatible answer names it in the same way."""
    return _word(info, "DockerRootDir")


def _disk(source: Source, known: Engine, root: str) -> tuple[Disk | None, str]:
    if not known.local:
        return None, "the engine is of another host"
    if not root:
        return None, "the engine does not say where its files lie"
    try:
        return disks(source, {f"{known.name}'s files": root})[0], ""
    except Unreadable as error:
        return None, str(error)


def _word(info: Mapping[str, Any], name: str) -> str:
    value = info.get(name)
    return value if isinstance(value, str) else ""
