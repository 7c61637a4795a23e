"""Limits of processes started from here: getrlimit(2), control groups, shared memory.

Formats: proc_pid_limits(5), cgroups(7); kernel, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

from madrun.probe.health.source import Source, Unreadable, whole
from madrun.spec.health import ControlGroup, Limit, Limits, Space

_SOFT, _HARD = slice(26, 47), slice(47, 68)
_NO_LIMIT = 1 << 62  # version 1 of the memory controller writes the largest number of pages
_HOME = "sys/fs/cgroup"


def limits(source: Source) -> Limits:
    """Limits of this process by /proc/self/limits."""
    rows = {line[:26].strip(): line for line in source.text("proc/self/limits").splitlines()}
    return Limits(
        locked=_limit(rows, "Max locked memory"),
        stack=_limit(rows, "Max stack size"),
        files=_limit(rows, "Max open files"),
        processes=_limit(rows, "Max processes"),
    )


def _limit(rows: dict[str, str], name: str) -> Limit:
    if name not in rows:
        raise Unreadable(f"/proc/self/limits: no line {name!r}")
    soft, hard = rows[name][_SOFT].strip(), rows[name][_HARD].split()
    return Limit(soft=_value(soft), hard=_value(hard[0] if hard else ""))


def _value(text: str) -> int | None:
    return None if text in ("unlimited", "max") else whole(text, "/proc/self/limits")


def shared_memory(source: Source) -> Space:
    """The host's /dev/shm."""
    found = source.space("dev/shm")
    if not found.f_blocks:
        raise Unreadable("/dev/shm: no file system of a size")
    return Space(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)


def control_group(source: Source) -> ControlGroup:
    """The tightest limits on the way from this process's control groups to the root."""
    rows = [line.split(":", 2) for line in source.text("proc/self/cgroup").splitlines()]
    if any(len(row) != 3 for row in rows) or not rows:
        raise Unreadable("/proc/self/cgroup: not the kernel's format")
    paths = {name: path for _, names, path in rows for name in names.split(",")}
    source.names(_HOME)  # without it nothing is known, and no limit would be a guess
    if source.exists(f"{_HOME}/cgroup.controllers"):
        at = {name: _upwards(_HOME, paths.get("", "/")) for name in ("memory", "pids", "cpu")}
        names = ("memory.max", "pids.max")
    else:
        at = {name: _upwards(f"{_HOME}/{name}", paths.get(name, "/")) for name in ("memory", "pids", "cpu")}
        names = ("memory.limit_in_bytes", "pids.max")
    return ControlGroup(
        memory=_tightest(source, [f"{folder}/{names[0]}" for folder in at["memory"]]),
        pids=_tightest(source, [f"{folder}/{names[1]}" for folder in at["pids"]]),
        cpus=min((found for folder in at["cpu"] if (found := _cpus(source, folder)) is not None), default=None),
    )


def _upwards(home: str, path: str) -> list[str]:
    """The group's folder and those above it; in a container the path may be one of the host that is not there."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return ["/".join((home, *parts[:count])) for count in range(len(parts), -1, -1)]


def _tightest(source: Source, files: list[str]) -> int | None:
    texts = [text for text in (source.optional(file) for file in files) if text not in (None, "", "max")]
    values = [whole(text, "a limit of the control group") for text in texts if text]
    return min((value for value in values if value < _NO_LIMIT), default=None)


def _cpus(source: Source, folder: str) -> float | None:
    """Quota by period, in microseconds: `cpu.max` of version 2, two files of version 1, where -1 is no limit."""
    text = source.optional(f"{folder}/cpu.max")
    words = text.split() if text else [source.optional(f"{folder}/cpu.cfs_{name}_us") or "" for name in _CFS]
    if len(words) != 2 or not words[0] or words[0] in ("max", "-1"):
        return None
    quota, period = (whole(word, f"/{folder}: the CPU limit") for word in words)
    return quota / period if quota > 0 and period > 0 else None


_CFS = ("quota", "period")
