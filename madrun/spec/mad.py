"""What a card of a MAD repository can say beyond a native one, and the context keys that only such cards have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

ALL_GPUS = "-1"
WORKSPACE = "/myworkspace"  # where scripts of MAD repositories expect the checkout
RUN_DIRECTORY = "run_directory"  # below it: where they run
MODELS = ("models--", "datasets--")  # how Hugging Face's libraries name the folders of what they download
COMMON = "scripts/common"  # where the tools of all cards lie, the repository's own and madrun's


@dataclass(frozen=True, slots=True, kw_only=True)
class LogErrors:
    """Which words in a log speak against a run of the card; None for the ones that MAD always looks for."""

    scan: bool = True
    patterns: tuple[str, ...] | None = None
    benign: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MadCard:
    """The fields of models.json that a native card has no place for; paths are relative to the repository.

    `short`: the name without its folder. `dockerfile`: a prefix; every file `<prefix>.*` is a candidate. `context`: the
    build context, empty for the default. `n_gpus` as written; `-1` is all.
    """

    short: str
    dockerfile: str
    context: str = ""
    n_gpus: str = ALL_GPUS
    url: str = ""
    cred: str = ""
    owner: str = ""
    skip_gpu_arch: tuple[str, ...] = ()
    docker_options: str = ""
    is_deprecated: bool = False
    distributed: dict[str, Any] = field(default_factory=dict)
    slurm: dict[str, Any] = field(default_factory=dict)
    env_vars: dict[str, str] = field(default_factory=dict)
    log_errors: LogErrors = LogErrors()
    nnodes: int | None = None

    @property
    def directory(self) -> str:
        """Where below the workspace the script runs: named by the last part of `url`, else as always."""
        return self.url.rstrip("/").rpartition("/")[2].rpartition(":")[2].removesuffix(".git") or RUN_DIRECTORY


@dataclass(frozen=True, slots=True)
class Entry:
    """Something of the checkout: its name in the workspace, where it lies on this host, and whether it is a folder.

    `copied`: the run gets a copy that it may write to; else it is mounted, read only.
    """

    name: str
    source: str
    is_folder: bool
    copied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A pre- or post-script: its path, relative to the workspace, and its arguments as shell text."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    path: str
    args: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that is put in front of the script: its name in tools.json, and what of it this run replaces."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    name: str
    cmd: str | None = None
    env_vars: dict[str, str] = field(default_factory=dict)
    pre_scripts: tuple[Step, ...] | None = None
    post_scripts: tuple[Step, ...] | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A pre- or post-script of a run: its path as it was said, the name of its copy where the script runs, its args."""

    path: str
    name: str
    args: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What is run around a script. `front`: shell text before the command; `env`: variables of tools, by name."""

    pre: tuple[Placed, ...] = ()
    post: tuple[Placed, ...] = ()
    front: str = ""
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadContext:
    """The keys of the context that cards of MAD repositories understand, by the names that they have there.

    `checkout`: whether its folders are mounted as they are, read only, or copied for the run so that scripts may write.
    """

    gpu_vendor: str | None = None
    guest_os: str | None = None
    host_os: str | None = None
    ctx_test: str | None = None
    numa_balancing: bool | str | None = None
    gpu_renderDs: tuple[int, ...] | None = None
    rocm_path: str | None = None
    MAD_ROCM_PATH: str | None = None
    docker_cpus: str | None = None
    SHM_SIZE: int | str | None = None
    additional_docker_run_options: str | None = None
    pre_scripts: tuple[Step, ...] = ()
    post_scripts: tuple[Step, ...] = ()
    encapsulate_script: str | None = None
    tools: tuple[Tool, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    gen_sys_env_details: bool | None = None
    rocenv_mode: Literal["lite", "full"] | None = None
    gpus_per_node: int | str | None = None
    gpu_count: int | str | None = None
    n_gpus: int | str | None = None
    num_gpus: int | str | None = None
    ngpus: int | str | None = None
    skip_perf_collection: bool | None = None
    log_error_pattern_scan: bool | None = None
    log_error_benign_patterns: tuple[str, ...] | None = None
    log_error_patterns: tuple[str, ...] | None = None
    distributed: dict[str, Any] = field(default_factory=dict)
    slurm: dict[str, Any] = field(default_factory=dict)
    k8s: dict[str, Any] = field(default_factory=dict)
    kubernetes: dict[str, Any] = field(default_factory=dict)
    vllm: dict[str, Any] = field(default_factory=dict)
    env_vars: dict[str, str] = field(default_factory=dict)
    deployment_config: dict[str, Any] = field(default_factory=dict)
    shared_data: Any = None
    monitor: Any = None
    cleanup_on_failure: Any = None
    debug: Any = None
    live_output: bool | None = None
    checkout: Literal["read-only", "copy"] = "read-only"
