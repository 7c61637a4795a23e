"""The merged configuration of a run, and the layers it was merged from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from madrun.spec.mad import MadContext

Port = Annotated[int, Ge(1), Le(65535)]
LAX: Mapping[str, object] = {"extra": "forbid", "coerce_numbers_to_str": True}
# Not TOKENIZERS_VERSION: a secret argument is no part of an image's recipe, so a new value would build nothing.
SECRET_NAME = re.compile(r"TOKEN(?!IZ)|SECRET|PASSWORD|PASSWD|KEY|CREDENTIAL", re.IGNORECASE)
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
VARIABLE_NAME_RULE = "a variable's name (letters, digits, '_')"

# Variables that nobody but madrun sets: what a run says of itself has to be what ran.
SET_FROM_ARGS = ("NNODES", "NODE_RANK", "NPROC_PER_NODE", "MASTER_ADDR", "MASTER_PORT", "MULTI_NODE_RUNNER")
SET_BY_MADRUN = (
    "MAD_MULTI_NODE_RUNNER",
    "WORLD_SIZE",
    "RANK",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MADRUN_DEVICES",
    "MADRUN_OWNER",
    "MADRUN_RUN_ID",
)

# Flags that an engine may be asked to do without; the record says so.
DROPPABLE = ("memlock", "nofile", "stack", "SYS_PTRACE", "seccomp", "groups", "infiniband", "hosts", "cgroup")


def is_secret(name: str) -> bool:
    """Whether a variable or build argument of this name holds something that no file may show."""
    return bool(SECRET_NAME.search(name))


_TELLING = 6  # a shorter value may stand in other texts by chance


def holding(values: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Those of the values in which a secret's value stands, under whatever name."""
    known = [value for value in secrets.values() if len(value) >= _TELLING]
    return {name: text for name, text in values.items() if any(value in text for value in known)}


def variable_problem(name: str, value: str) -> str:
    """What is wrong with a variable that is to reach the script; empty where nothing is."""
    if not VARIABLE_NAME.fullmatch(name):
        return f"found {name!r}, allowed: {VARIABLE_NAME_RULE}"
    if name in SET_FROM_ARGS:
        return "is set from multi_node_args; leave it out here"
    if name in SET_BY_MADRUN:
        return "is set by madrun itself, from multi_node_args and the run; leave it out here"
    if not can_be_passed(value):
        return f"found {'a secret' if is_secret(name) else repr(value[:40])}, allowed: text without NUL"
    return ""


def can_be_passed(text: str) -> bool:
    """Whether the text can be a variable of a process: no NUL, and Unicode that has an encoding."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def mount_source(value: str) -> tuple[str, bool]:
    """A value of docker_mounts as the host's path and whether it is read only: `/nfs/data:ro`."""
    path, _, mode = value.rpartition(":")
    return (path, mode == "ro") if path and mode in ("ro", "rw") else (value, False)


def args_problem(args: str, any_text: bool = False) -> str:
    """Why these arguments cannot stand on the script's line of bash; empty where they can.

    `any_text`: whatever a shell of its own may read, several lines and open quotes too.
    """
    import shlex

    if any_text:
        return "" if can_be_passed(args) else f"found {args[:40]!r}, allowed: text without NUL"
    if "\n" in args.rstrip("\n") or "\r" in args:
        return "found a line break, which would end the command; allowed: one line (in YAML `>-` joins lines)"
    if not can_be_passed(args):
        return f"found {args[:40]!r}, allowed: text without NUL"
    try:
        shlex.split(args)
    except ValueError as error:
        what = "a backslash at the end" if "escaped" in str(error) else "an unbalanced quote in args"
        return f"found {what}: {args[:60]!r}; allowed: words as bash reads them, every quote closed"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiNodeArgs:
    """How the nodes of the job find each other; the names are those of the command line's context."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = LAX

    RUNNER: str = "torchrun"
    MASTER_ADDR: str = "localhost"
    MASTER_PORT: Port | None = None
    NNODES: Annotated[int, Ge(1)] = 1
    NODE_RANK: Annotated[int, Ge(0)] = 0
    NPROC_PER_NODE: Annotated[int, Ge(1)] | None = None
    NCCL_SOCKET_IFNAME: str | None = None
    GLOO_SOCKET_IFNAME: str | None = None
    HOST_LIST: str | None = None
    CONTROL_PORT: Port | None = None
    RUNNER_ARGS: str | None = None
    CONFIG_FILE: str | None = None
    ELASTIC: str | None = None
    MPI_LAUNCH: Literal["agent", "ssh"] = "agent"
    TRANSPORT: Literal["auto", "rdma", "sockets"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(MadContext):
    """Everything a user may set for a run; durations in seconds or text, sizes in bytes or text.

    `ssh`, `slurm`, `kubernetes`, `compose` and `skypilot` are read by the backends of these names alone.
    """

    __pydantic_config__: ClassVar[Mapping[str, object]] = LAX

    multi_node_args: MultiNodeArgs = field(default_factory=MultiNodeArgs)
    docker_env_vars: dict[str, str] = field(default_factory=dict)
    docker_mounts: dict[str, str] = field(default_factory=dict)
    docker_build_arg: dict[str, str] = field(default_factory=dict)
    MAD_CONTAINER_IMAGE: str | None = None
    model_args: str | None = None
    more_args: tuple[str, ...] = ()
    docker_gpus: str | None = None
    docker_drop: tuple[str, ...] = ()
    runtime: Literal["auto", "docker", "podman", "process"] = "auto"
    force_mirror_local: str | None = None
    timeout: float | str | None = None
    grace: float | str = 5
    join_timeout: float | str = 600
    stall_timeout: float | str | None = None
    local_data: bool = False
    check_reach: bool = True
    collect_limit: int | str = "1g"
    ipc: Literal["private", "host"] = "private"
    shm_size: int | str | None = None
    memlock: Literal["unlimited", "default"] = "unlimited"
    nofile: Annotated[int, Ge(1)] | None = 1048576
    registry: str | None = None
    modules: tuple[str, ...] = ()
    ssh: dict[str, Any] = field(default_factory=dict)
    compose: dict[str, Any] = field(default_factory=dict)
    skypilot: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layer:
    """One source of configuration; later layers replace what earlier ones say."""

    name: str
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one final value came from: layers from lowest to highest that set it, with what each said."""

    key: str
    said: tuple[tuple[str, Any], ...]
