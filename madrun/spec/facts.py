"""What a probe found on a host and its engine; data only, so that planning stays pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """The accelerators of a host; `vendor` is `cpu` where there are none."""

    vendor: str = "cpu"
    count: int = 0
    models: tuple[str, ...] = ()
    arch: str = ""
    driver: str = ""
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface and its addresses as literals."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GitState:
    """Commit of a checkout; empty where the folder is in none."""

    commit: str = ""
    dirty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The container engine of this host; limits are the daemon's hard limits, None = not known."""

    name: str
    version: str
    id: str = ""
    rootless: bool = False
    can_raise_limits: bool | None = None
    memlock: int | None = None
    nofile: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """One host as it was when the plan was made."""

    hostname: str
    host_id: str
    kernel: str
    cpu: str
    cpus: int
    memory: int
    uid: int
    gid: int
    python: str
    accelerator: Accelerator
    interfaces: tuple[Interface, ...] = ()
    process_env: dict[str, str] = field(default_factory=dict)
    engine: Engine | None = None
    engine_absent: str = ""
    scheduler: dict[str, str] = field(default_factory=dict)
    filesystems: dict[str, str] = field(default_factory=dict)
