"""CPU, memory and disks of the whole host."""

from __future__ import annotations

from pathlib import Path

from madrun.probe.telemetry.counters import Kept, Rate, close_all, whole

# /proc/meminfo counts in KiB; /proc/diskstats in sectors of 512 bytes, whatever the disk's are
_KIB, _SECTOR = 1024, 512
_IDLE, _IOWAIT, _GUEST = 3, 4, 8


class HostCpu:
    """Busy share of all CPUs in per cent; waiting for a disk is idle."""

    columns: tuple[str, ...] = ("host_cpu_pct",)

    def __init__(self, root: Path) -> None:
        self._file = Kept(root / "proc/stat")
        self._busy, self._total = Rate(), Rate()

    def read(self, at: float) -> tuple[float | None]:
        words = self._file.text(512).partition("\n")[0].split()[1 : _GUEST + 1]  # guest time is in user time already
        ticks = [float(word) for word in words if word.isdecimal()]
        if len(ticks) <= _IOWAIT:
            return (None,)
        total = self._total.of(sum(ticks), at)
        busy = self._busy.of(sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT], at)
        return (100 * busy / total if total and busy is not None else None,)

    def close(self) -> None:
        self._file.close()


class HostMemory:
    """Memory of the host in use, and what is available without swapping."""

    columns: tuple[str, ...] = ("host_memory_used_bytes", "host_memory_available_bytes")

    def __init__(self, root: Path) -> None:
        self._file = Kept(root / "proc/meminfo")

    def read(self, at: float) -> tuple[float | None, float | None]:
        values = fields(self._file.text(512))
        total, available = values.get("MemTotal"), values.get("MemAvailable")
        if total is None or available is None:
            return None, None
        return (total - available) * _KIB, available * _KIB

    def close(self) -> None:
        self._file.close()


class Disks:
    """Bytes that all real disks of the host read and write; a partition is part of its disk."""

    columns: tuple[str, ...] = ("disk_read_bytes_per_s", "disk_write_bytes_per_s")

    def __init__(self, root: Path) -> None:
        self._file = Kept(root / "proc/diskstats")
        self._names = frozenset(entry.name for entry in (root / "sys/block").iterdir() if (entry / "device").exists())
        self._rates = Rate(), Rate()
        if not self._names:
            self.columns = ()
            self._file.close()

    def read(self, at: float) -> tuple[float | None, ...]:
        rows = [line.split() for line in self._file.text().splitlines()]
        mine = [row for row in rows if len(row) > 9 and row[2] in self._names]
        if not mine:
            return None, None
        moved = [sum(float(row[place]) for row in mine) * _SECTOR for place in (5, 9)]
        return tuple(rate.of(value, at) for rate, value in zip(self._rates, moved, strict=True))

    def close(self) -> None:
        close_all([self._file])


def fields(text: str) -> dict[str, float]:
    """Lines such as `MemFree:  12 kB` or `inactive_file 12` by their first words; others are left out."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        value = whole(words[1]) if len(words) > 1 else None
        if value is not None:
            found[words[0].rstrip(":")] = value
    return found
