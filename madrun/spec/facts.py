"""What a probe found on a host and its engine; data only, so that planning stays pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from madrun.spec.fabric import Hca


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A part of a GPU that the driver offers as a device of its own (NVIDIA MIG); `name` as `1g.18gb`."""

    name: str
    uuid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU. `index` counts as the vendor's tools do; `device` is its device file, `memory` is in bytes.

    What could not be found is empty, 0 or None; `arch` is `gfx942` or `sm_90`, `model` the product's name. `index` is
    that of the tools in this process: under a scheduler's device limits it need not be the host's. `mig`: NVIDIA MIG
    mode is on, so that the GPU is usable by its `partitions` alone.
    """

    index: int
    model: str = ""
    arch: str = ""
    uuid: str = ""
    bus: str = ""
    device: str = ""
    memory: int = 0
    numa: int | None = None
    mig: bool = False
    partitions: tuple[Partition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """The accelerators of a host; `vendor` is `amd`, `nvidia`, or `cpu` where there are none.

    `driver`: version of the kernel driver. `stack`: version of the host's ROCm, or the highest CUDA version that the
    driver supports. `control`: device files that every job needs beside those of its GPUs. `groups`: numeric ids of
    the groups that own the device files. `hidden`: how many GPUs the host has beside `gpus` that this process may not
    use, or that are lost. `notes`: what the sources contradicted each other about.
    """

    vendor: str = "cpu"
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    stack: str = ""
    control: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    hidden: int = 0
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """GPUs of this host that this process may use."""
        return len(self.gpus)

    @property
    def arch(self) -> str:
        """Architecture of the first GPU; empty without one."""
        return self.gpus[0].arch if self.gpus else ""

    @property
    def model(self) -> str:
        """Product name of the first GPU; empty without one."""
        return self.gpus[0].model if self.gpus else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface and its addresses as literals; what is not known is empty, 0 or None.

    `networks`: of each address in the same order, as `10.0.0.0/24`. `kind`: `ethernet`, `wireless`, `infiniband` (IP
    over it), `loopback`, `bridge`, `bond`, `vlan`, `wireguard`, `tunnel`, `virtual` and so on. `master`: the bond or
    bridge that it is a part of. `lower`: what it stands on; of a bridge only those parts that lead out of the host.
    `up`: as the administrator said it; `carrier`: whether a cable carries something. `mtu` in bytes, `speed` in Mbit/s.
    """

    name: str
    addresses: tuple[str, ...]
    networks: tuple[str, ...] = ()
    kind: str = ""
    master: str = ""
    lower: tuple[str, ...] = ()
    up: bool | None = None
    carrier: bool | None = None
    mtu: int = 0
    speed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GitState:
    """Commit of a checkout; empty where the folder is in none."""

    commit: str = ""
    dirty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The container engine that answered. Limits are the daemon's hard limits, None = not known.

    `name` is `docker` or `podman`; `host` its address; `local` whether it sees the files of this host;
    `architecture` as images name it (`amd64`); `runtimes` those it knows; `cdi` the CDI devices it found
    (`nvidia.com/gpu=0`). `cgroup_driver`: `cgroupfs` or `systemd`; asked for in a SLURM job alone.
    """

    name: Literal["docker", "podman"]
    version: str
    host: str = ""
    local: bool = True
    architecture: str = ""
    runtimes: tuple[str, ...] = ()
    cdi: tuple[str, ...] = ()
    rootless: bool = False
    can_raise_limits: bool | None = None
    memlock: int | None = None
    nofile: int | None = None
    cgroup_driver: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """One host as it was when the plan was made.

    `machine` as uname says it (`x86_64`); `infiniband`: the device files under /dev/infiniband; `hcas`: the adapters.
    `bridges`: what of the PCI tree is above each GPU, by its bus, where there are adapters. `data`: files, bytes and
    newest time of each data source when the run began. `disks`: bytes free for this user and bytes in all, of the file
    system of each place that a run fills. `slurm_job`: the number of the SLURM job of which this is a part, and
    `slurm_cgroup` its cgroup here; empty where there is none.
    """

    hostname: str
    host_id: str
    kernel: str
    cpu: str
    cpus: int
    memory: int
    uid: int
    gid: int
    python: str
    machine: str = ""
    accelerator: Accelerator
    infiniband: tuple[str, ...] = ()
    hcas: tuple[Hca, ...] = ()
    bridges: dict[str, tuple[str, ...]] = field(default_factory=dict)
    interfaces: tuple[Interface, ...] = ()
    process_env: dict[str, str] = field(default_factory=dict)
    engine: Engine | None = None
    engine_absent: str = ""
    scheduler: dict[str, str] = field(default_factory=dict)
    filesystems: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    disks: dict[str, tuple[int, int]] = field(default_factory=dict)
    slurm_job: str = ""
    slurm_cgroup: str = ""
