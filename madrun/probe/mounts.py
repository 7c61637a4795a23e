"""Which file system a path of this host lies on: what tells a shared path from a local one."""

from __future__ import annotations

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
