"""Whose a process is, what it is, and in which container: by /proc/PID (proc(5), cgroups(7))."""

from __future__ import annotations

import re
from pathlib import PurePath

from madrun.probe.health.source import Source, Unreadable

_CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)", re.MULTILINE)


def owner(source: Source, pid: int) -> str:
    """The user's name, or number where it has none here; empty where the process cannot be seen."""
    import pwd

    rows = dict(line.partition(":")[::2] for line in _text(source, f"proc/{pid}/status").splitlines())
    words = rows.get("Uid", "").split()
    if not words or not words[0].isdecimal():
        return ""
    try:
        return pwd.getpwuid(int(words[0])).pw_name
    except (KeyError, OverflowError):
        return words[0]


def command(source: Source, pid: int, most: int = 60) -> str:
    """The beginning of its command line, the program without its folder; empty where it cannot be seen."""
    words = [word for word in _text(source, f"proc/{pid}/cmdline").split("\0") if word]
    shown = " ".join((PurePath(words[0]).name, *words[1:])) if words else _text(source, f"proc/{pid}/comm")
    plain = "".join(letter if letter.isprintable() else " " for letter in shown)
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."


def container(source: Source, pid: int) -> str:
    """The first 12 digits of the id of the container that it is in, as engines show them; empty without."""
    match = _CONTAINER.search(_text(source, f"proc/{pid}/cgroup"))
    return match[1][:12] if match else ""


def _text(source: Source, path: str) -> str:
    try:
        return source.optional(path) or ""
    except Unreadable:  # of another user, or it has just ended
        return ""
