"""Space where a run writes (statvfs(3))."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from madrun.probe.health.source import Source, Unreadable
from madrun.spec.health import Disk, Space


def disks(source: Source, places: Mapping[str, str]) -> tuple[Disk, ...]:
    """Of each place, by what it is called, the file system of its path or of the nearest folder above it."""
    return tuple(_disk(source, name, path) for name, path in places.items())


def _disk(source: Source, name: str, path: str) -> Disk:
    at = Path(path)
    while not source.exists(str(at).lstrip("/")) and at != at.parent:
        at = at.parent
    found = source.space(str(at))
    if not found.f_blocks:
        raise Unreadable(f"{path}: its file system does not say how large it is")
    full = found.f_files > 0 and found.f_favail == 0  # bytes without inodes take no file either
    space = Space(total=found.f_blocks * found.f_frsize, free=0 if full else found.f_bavail * found.f_frsize)
    return Disk(name=name, path=path, space=space, writable=not found.f_flag & os.ST_RDONLY)
