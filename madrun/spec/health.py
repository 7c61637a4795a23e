"""What `madrun doctor` reads of a host: data only, so that the rules are pure. Sizes in bytes, times in seconds.

A value that the source did not give is None where nothing else is said; the rules then say UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NO_GROUP = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit of this process (getrlimit(2)); None: no limit."""

    soft: int | None
    hard: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that a process started from this shell has: locked memory and stack in bytes, the others in pieces."""

    locked: Limit
    stack: Limit
    files: Limit
    processes: Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A file system: bytes in all, and those that this user may still write."""

    total: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlGroup:
    """What the control groups of this process allow at most; None: no limit. `cpus` in CPUs, `pids` in processes."""

    memory: int | None = None
    pids: int | None = None
    cpus: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NumaBalancing:
    """The kernel's setting (0 is off), and how many NUMA nodes the host has."""

    setting: int
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Governors:
    """How the clock of the CPUs is governed: number of CPUs by governor, the driver, and what it is told to prefer."""

    governors: Mapping[str, int]
    driver: str = ""
    preferences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """Memory of the host and its swap space."""

    total: int
    available: int
    swap_total: int
    swap_free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A process of somebody and how many CPUs it keeps busy; `container`: the beginning of its id, empty without."""

    pid: int
    owner: str
    command: str
    cpus: float
    container: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many of the host's CPUs were busy with other things than this program, and with what, busiest first."""

    cpus: int
    busy: float
    consumers: tuple[Consumer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PciGpus:
    """GPUs that the PCI bus lists, by vendor (`amd`, `nvidia`): their addresses.

    `bound`: those with a driver; `screens`: those of the class of graphics cards, which may serve a screen alone.
    """

    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bound: tuple[str, ...] = ()
    screens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Iommu:
    """How the IOMMU treats the devices of the job: addresses by the kind of their group's domain.

    `identity`: not translated; `DMA` and `DMA-FQ`: translated; `NO_GROUP`: no IOMMU is at work on it.
    """

    kinds: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acs:
    """PCI bridges that can redirect what devices send to each other, and those among them that do."""

    able: tuple[str, ...] = ()
    redirecting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A process that has a GPU open. `kind`: C computes, G draws; empty: not known. `owner` and `container`: empty
    where this user may not see them.
    """

    pid: int
    name: str = ""
    kind: str = ""
    memory: int | None = None
    owner: str = ""
    container: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """One GPU at this moment, `label` as users know it (`GPU 0`). Power in watts.

    `uncorrected` and `corrected`: memory errors since the driver was loaded. `pending`: a repair of its memory waits
    for a reset; `unrepairable`: such a repair failed. `slowed`: why its clock is held down, in the vendor's words.
    `fabric`: how far it has joined the others behind NVSwitch, in the driver's words; empty where there is no NVSwitch.
    """

    label: str
    bus: str = ""
    memory_used: int | None = None
    memory_total: int | None = None
    power_limit: float | None = None
    power_default: float | None = None
    persistent: bool | None = None
    ecc: bool | None = None
    uncorrected: int | None = None
    corrected: int | None = None
    pending: bool | None = None
    unrepairable: bool | None = None
    slowed: tuple[str, ...] | None = None
    fabric: str = ""
    processes: tuple[GpuProcess, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostGpus:
    """The state of all GPUs; `unread`: why some kind of value is not there, by the name of the value."""

    gpus: tuple[GpuState, ...]
    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerMemory:
    """Whether RDMA adapters can reach the memory of GPUs: names of kernel modules and files that say so."""

    ways: tuple[str, ...]
    kernel: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """The kernel's clock: whether something keeps it right, and by how much it may be wrong at most."""

    synchronised: bool
    largest_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A place that a run fills."""

    name: str
    path: str
    space: Space
    writable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineState:
    """What the engine says of itself. `warnings` are its own words. `disk`: where its files lie, where that is here;
    `unread`: why nothing is known of it.
    """

    name: str
    version: str
    storage: str = ""
    cgroup: str = ""
    runtimes: tuple[str, ...] = ()
    cdi: tuple[str, ...] = ()
    disk: Disk | None = None
    unread: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostName:
    """What this host's own name means here; `line`: the line of /etc/hosts that has it. No address: it has none."""

    name: str
    addresses: tuple[str, ...]
    line: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowControl:
    """Priorities with flow control (PFC) by interface."""

    priorities: Mapping[str, tuple[int, ...]]
