"""Readings of a host while a script runs: CPU, memory, network, RDMA, disks, GPUs. Missing is None, never 0."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Source(Protocol):
    """Some columns of telemetry.csv, whose names end in their units."""

    columns: tuple[str, ...]

    def read(self, at: float) -> Sequence[float | None]:
        """One value for each column at this time of a monotonic clock; None where nothing could be read."""

    def close(self) -> None:
        """Gives back what was held open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be watched: the driver's process id on this host, the GPUs of the job and its interfaces."""

    vendor: str
    pid: int | None = None
    gpus: tuple[int, ...] = ()
    interfaces: tuple[str, ...] = ()


def open_sources(wanted: Wanted, root: Path = Path("/")) -> list[Source]:
    """The sources that this host has. One that cannot be opened is left out: it may never end a run."""
    makers = (_host, _run, _network, _rdma, _disks, _gpus)
    return [source for make in makers for source in _tried(make, wanted, root)]


def _tried(make: Callable[[Wanted, Path], list[Source]], wanted: Wanted, root: Path) -> list[Source]:
    try:
        return [source for source in make(wanted, root) if source.columns]
    except (OSError, ValueError, LookupError):
        return []


def _host(_wanted: Wanted, root: Path) -> list[Source]:
    from madrun.probe.telemetry.host import HostCpu, HostMemory

    return [HostCpu(root), HostMemory(root)]


def _run(wanted: Wanted, root: Path) -> list[Source]:
    """By the run's own cgroup where it has one, which costs least; else by its processes."""
    from madrun.probe.telemetry.cgroup import Cgroup, own_cgroup
    from madrun.probe.telemetry.processes import Processes

    if wanted.pid is None:
        return []
    place = own_cgroup(wanted.pid, os.getpid(), root)
    return [Cgroup(place)] if place is not None else [Processes(wanted.pid, root)]


def _network(wanted: Wanted, root: Path) -> list[Source]:
    from madrun.probe.telemetry.network import Network, interesting

    return [Network(interesting(root, wanted.interfaces), root)]


def _rdma(_wanted: Wanted, root: Path) -> list[Source]:
    from madrun.probe.telemetry.network import Rdma

    return [Rdma(root)]


def _disks(_wanted: Wanted, root: Path) -> list[Source]:
    from madrun.probe.telemetry.host import Disks

    return [Disks(root)]


def _gpus(wanted: Wanted, root: Path) -> list[Source]:
    if wanted.vendor == "amd":
        from madrun.probe.telemetry.amd import amd_gpus

        return list(amd_gpus(wanted.gpus, root))
    if wanted.vendor == "nvidia":
        from madrun.probe.telemetry.nvidia import nvidia_gpus

        return list(nvidia_gpus(wanted.gpus))
    return []
