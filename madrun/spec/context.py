"""The merged configuration of a run, and the layers it was merged from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

Port = Annotated[int, Ge(1), Le(65535)]
LAX: Mapping[str, object] = {"extra": "forbid", "coerce_numbers_to_str": True}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything a user may set for a run; durations in seconds or text, sizes in bytes or text."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = LAX

    multi_node_args: MultiNodeArgs = field(default_factory=MultiNodeArgs)
    docker_env_vars: dict[str, str] = field(default_factory=dict)
    docker_mounts: dict[str, str] = field(default_factory=dict)
    docker_build_arg: dict[str, str] = field(default_factory=dict)
    MAD_CONTAINER_IMAGE: str | None = None
    model_args: str | None = None
    runtime: Literal["auto", "docker", "process"] = "auto"
    force_mirror_local: str | None = None
    timeout: float | str | None = None
    grace: float | str = 5
    join_timeout: float | str = 600
    ipc: Literal["private", "host"] = "private"
    shm_size: int | str | None = None
    memlock: Literal["unlimited", "default"] = "unlimited"
    nofile: int | None = 1048576


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
