"""How much memory a process may still take: of its GPU, or of the host and of the container around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

UNLIMITED = 2**60  # cgroup v1 writes "no limit" as a number near 2**63


@dataclass(frozen=True)
class Capacity:
    """Bytes that can still be taken, and by what they are limited."""

    free: int
    limit: str


def host_capacity(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> Capacity | None:
    """The least of what the kernel calls available and what each cgroup above this process leaves.

    Formats: proc_meminfo(5) for MemAvailable; memory.max and memory.current of cgroup v2, memory.limit_in_bytes
    and memory.usage_in_bytes of v1 (Linux Documentation/admin-guide). None where none of them can be read.
    """
    found = []
    for line in _lines(proc / "meminfo"):
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            found.append(Capacity(int(rest.split()[0]) * 1024, "MemAvailable of the host"))
    found += [capacity for folder in _groups(proc, cgroup) if (capacity := _left_in(folder))]
    return min(found, key=lambda capacity: capacity.free, default=None)


def _groups(proc: Path, cgroup: Path) -> list[Path]:
    """The cgroups of this process from the innermost to the root, as far as they are mounted here.

    In a container the path in /proc/self/cgroup may be the host's and not exist; the root then stands for it.
    """
    folders = []
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = cgroup / "memory" if controllers else cgroup
        inner = top / path.lstrip("/")
        folders += [inner, *(parent for parent in inner.parents if parent.is_relative_to(top))]
    return folders


def _left_in(folder: Path) -> Capacity | None:
    """What the limit of one cgroup leaves, its reclaimable file cache counted as free."""
    for limit_name, usage_name in (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        limit, usage = _number(folder / limit_name), _number(folder / usage_name)
        if limit is not None and usage is not None and limit < UNLIMITED:
            cache = 0
            for line in _lines(folder / "memory.stat"):
                name, _, value = line.partition(" ")
                if name in ("inactive_file", "total_inactive_file"):
                    cache = max(cache, int(value))
            return Capacity(max(0, limit - max(0, usage - cache)), f"{limit_name} {limit} of {folder}")
    return None


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
