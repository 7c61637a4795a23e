"""Which file system a path of this host lies on: what tells a shared path from a local one."""

from __future__ import annotations

import os
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")


def filesystem_of(path: str, mounts: Path = _MOUNTS) -> str:
    """`nfs4 server:/data at /nfs/data`: type, source and mount point; empty where it cannot be told.

    Format: proc(5), /proc/pid/mountinfo. Of mounts at the same place the last one is in force.
    """
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    real = str(Path(path).resolve())
    best, found = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point, kind = _unescape(left.split()[4]), right.split()
        if _is_below(real, point) and len(point) >= len(best) and len(kind) >= 2:
            best, found = point, f"{kind[0]} {_unescape(kind[1])} at {point}"
    return found


def _is_below(path: str, point: str) -> bool:
    return point in ("/", path) or path.startswith(point + "/")


def _unescape(text: str) -> str:
    """The kernel writes space, tab, newline and backslash as octal numbers."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def free_space(path: str) -> tuple[int, int] | None:
    """Bytes that this user may still write and bytes in all, of the file system of the path or its nearest parent.

    A file system that has bytes but no inodes left takes no file either: it counts as full.
    """
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        found = os.statvfs(place)
    except OSError:
        return None
    full = found.f_files > 0 and found.f_favail == 0
    return (0 if full else found.f_bavail * found.f_frsize), found.f_blocks * found.f_frsize


def engine_root(name: str, rootless: bool, home: str) -> str:
    """Where the engine keeps its images unless its configuration says otherwise; empty where that is not there."""
    own = {"docker": ".local/share/docker", "podman": ".local/share/containers/storage"}
    all_users = {"docker": "/var/lib/docker", "podman": "/var/lib/containers/storage"}
    place = f"{home}/{own[name]}" if rootless else all_users[name]
    try:
        return place if Path(place).is_dir() else ""
    except OSError:
        return ""
