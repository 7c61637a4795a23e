"""Whose a process is, what it is, and in which container: by /proc/PID (proc(5), cgroups(7), pid_namespaces(7))."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import PurePath

from madrun.probe.health.source import Source, Unreadable

_FIRST = "pid:[4026531836]"  # of the host itself: PROC_PID_INIT_INO of the kernel's include/linux/proc_ns.h
_CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)", re.MULTILINE)


_MAY_TELL = re.compile(r"^-(?![umBEIOsS]$)|[=@{}:]")  # all but flags of python that take no value, and -m


def sees_all(source: Source) -> bool:
    """Whether the processes of the whole host are seen from here, under the numbers that drivers give them; in a
    container they mostly are not. A kernel without such namespaces has no such link.
    """
    try:
        return source.link("proc/self/ns/pid") in ("", _FIRST)
    except Unreadable:
        return False


def of_driver(source: Source, pid: int) -> tuple[str, str, str]:
    """Command line, owner and container of a process that a driver names by its number on the host; all empty where
    that number may be another process here.
    """
    if not sees_all(source):
        return "", "", ""
    return command(source, pid), owner(source, pid), container(source, pid)


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
    """The beginning of its command line, the program without its folder; empty where it cannot be seen.

    It ends before the first word that may hold a value: people put secrets there, and what is found goes to others.
    """
    words = [word for word in _text(source, f"proc/{pid}/cmdline").split("\0") if word]
    told = [*takewhile(lambda word: not _MAY_TELL.search(word), words[1:])]
    more = ["..."] if len(told) < len(words) - 1 else []
    shown = " ".join((PurePath(words[0]).name, *told, *more)) if words else _text(source, f"proc/{pid}/comm")
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
