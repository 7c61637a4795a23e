"""CPU, memory and disk bytes of one cgroup, version 1 and 2: what a container's processes use together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from madrun.probe.telemetry.counters import Kept, Rate, close_all, scaled
from madrun.probe.telemetry.host import fields

RUN_COLUMNS = ("run_cpu_pct", "run_memory_bytes")
_HOME = "sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Place:
    """Directories of a cgroup; with version 2 they are all the same one."""

    version: int
    cpu: Path
    memory: Path
    blkio: Path


def own_cgroup(pid: int, other: int, root: Path) -> Place | None:
    """The cgroup of `pid`, where it is not that of `other` too and can be read here."""
    here, there = _paths(pid, root), _paths(other, root)
    home = root / _HOME
    if "" in here and (home / "cgroup.controllers").exists():
        folder = home / here[""].lstrip("/")
        same = here[""] == there.get("")
        return None if same or not (folder / "cpu.stat").exists() else Place(2, folder, folder, folder)
    names = ("cpuacct", "memory", "blkio")
    if any(name not in here or here[name] == there.get(name) for name in names):
        return None
    cpu, memory, blkio = (home / name / here[name].lstrip("/") for name in names)
    return Place(1, cpu, memory, blkio) if (cpu / "cpuacct.usage").exists() else None


def _paths(pid: int, root: Path) -> dict[str, str]:
    """Path by controller; that of version 2 has no name."""
    try:
        lines = (root / "proc" / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return {}
    rows = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    return {name: path for _, names, path in rows for name in names.split(",")}


class Cgroup:
    """A run's own cgroup. CPU: 100 is one core. Memory: in use without file cache that can be dropped."""

    columns: tuple[str, ...] = (*RUN_COLUMNS, "run_disk_read_bytes_per_s", "run_disk_write_bytes_per_s")

    def __init__(self, place: Place) -> None:
        one = place.version == 1
        self._version = place.version
        self._cpu = Kept(place.cpu / ("cpuacct.usage" if one else "cpu.stat"))
        self._memory = Kept(place.memory / ("memory.usage_in_bytes" if one else "memory.current"))
        self._stat = Kept(place.memory / "memory.stat")
        self._io = Kept(place.blkio / ("blkio.throttle.io_service_bytes_recursive" if one else "io.stat"))
        self._rates = Rate(), Rate(), Rate()

    def read(self, at: float) -> tuple[float | None, ...]:
        cpu, reading, writing = self._rates
        moved = _io_bytes(self._io.text(), self._version)
        return (
            scaled(cpu.of(self._cpu_seconds(), at), 100),
            self._in_use(),
            reading.of(moved[0], at),
            writing.of(moved[1], at),
        )

    def _cpu_seconds(self) -> float | None:
        if self._version == 1:
            return scaled(self._cpu.number(), 1e-9)
        return scaled(fields(self._cpu.text()).get("usage_usec"), 1e-6)

    def _in_use(self) -> float | None:
        whole = self._memory.number()
        found = fields(self._stat.text())
        cache = found.get("total_inactive_file", found.get("inactive_file"))
        return None if whole is None else max(0.0, whole - (cache or 0))

    def close(self) -> None:
        close_all((self._cpu, self._memory, self._stat, self._io))


def _io_bytes(text: str, version: int) -> tuple[float | None, float | None]:
    """Bytes read and written over all devices. Lines: `8:0 Read 12`, or `8:0 rbytes=12 wbytes=0`; none at first."""
    words = [line.split() for line in text.splitlines()]
    if version == 1:
        sums = [
            sum(float(row[2]) for row in words if row[1:2] == [name] and len(row) == 3) for name in ("Read", "Write")
        ]
        return (sums[0], sums[1]) if words else (None, None)
    pairs = [word.partition("=") for row in words for word in row[1:]]
    read, written = (
        sum(float(value) for key, _, value in pairs if key == name and value.isdecimal())
        for name in ("rbytes", "wbytes")
    )
    return read, written
