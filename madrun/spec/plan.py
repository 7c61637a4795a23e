"""The plan: everything that will be executed, frozen. One job part, hashed, and one part for each node.

Texts that depend on the run hold `{run_id}` and `{run_dir}`; `bind` fills them in when a run begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from madrun.spec.card import Metric
from madrun.spec.codec import sha256, to_plain
from madrun.spec.data import Fetch
from madrun.spec.mad import Entry, LogErrors

FORMAT = 1
BOX = "/madrun"  # where a container finds the directory of its run
RANK = "rank"  # the program in it that starts a rank and keeps its output apart
BIN = "bin"  # the folder in it that comes last on PATH
TRANSPORT_LOGS = "nccl"  # the folder in it where NCCL and RCCL write what they use
CONFIG = "runner-config"  # the beginning of the name of the runner's configuration file in it
RUN_ID, RUN_DIR, SECRET, HOSTS = "{run_id}", "{run_dir}", "{secret}", "{hosts}"
CHECKSUM = "checksum"
NOWHERE = "nowhere"
SHARED = "shared"
RuntimeName = Literal["docker", "podman", "process"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """The image of the job. `build`: `name` carries the recipe's hash; `ready`: it is pulled where missing.

    `secrets`: the names of those that the builder mounts while it builds. `tag`: another name that the image gets.
    `pull_from`: the name by which a ready image is pulled where it is missing, default its own; `NOWHERE`: it is not;
    `SHARED`: it is loaded from the directory that MAD_DOCKER_BUILDS names, and saved there.
    """

    kind: Literal["build", "ready", "none"]
    name: str = ""
    recipe: str = ""
    dockerfile: str = ""
    context: str = ""
    build_args: dict[str, str] = field(default_factory=dict)
    base: str = ""
    secrets: tuple[str, ...] = ()
    tag: str = ""
    pull_from: str = ""
    path: str = ""

    @property
    def source(self) -> str:
        """The Dockerfile, relative to the repository; `dockerfile` is its place in what the builder gets."""
        return self.path or (f"{self.context}/{self.dockerfile}".removeprefix("./") if self.dockerfile else "")

    @property
    def file_name(self) -> str:
        """The image's name as files that belong to it carry it."""
        return self.name.replace("/", "_").replace(":", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlan:
    """One data source by name: where its provider says it lies, and where the script finds it."""

    name: str
    provider: str
    home: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """What is the same on every node; its hash is what nodes compare. Durations in seconds, sizes in bytes.

    `run_directory`: where below the work directory a script of a MAD repository runs; empty for a native card. `url`:
    the repository that is cloned there, and `cred` the beginning of the names of the secrets that open it. `steps`:
    paths of pre- and post-scripts by the names of their steps. `log_errors`: how the log of such a script is read.
    `launcher`: as the card names it. `options`: hash of free-form options of the container as they were written.
    `checkout`: whether the script may write into the folders beside it. `common`: hash of the files of scripts/common
    that the card's files speak of; empty without any. `runner_args`: the user's own words for the runner;
    `runner_config`: name in the box and hash of its configuration file, `NAME:HASH`; `elastic`: `MIN:MAX` nodes of
    torchrun; `mpi_launch`: how mpirun reaches the other nodes; `transport`: what the ranks are to talk over, `auto`,
    `rdma` or `sockets`.
    """

    card: str
    tags: tuple[str, ...]
    script: str
    args: str
    script_hash: str
    runtime: RuntimeName
    vendor: str
    runner: str
    nnodes: int
    nproc_per_node: int
    env: dict[str, str]
    secrets: tuple[str, ...]
    image: ImagePlan
    data: tuple[DataPlan, ...]
    metrics: dict[str, Metric]
    multiple_results: str | None
    timeout_s: float
    grace_s: float
    lease_s: float
    driver: str
    stall_timeout_s: float = 0.0
    collect_limit: int = 1 << 30
    training_precision: str = ""
    launcher: str = ""
    options: str = ""
    run_directory: str = ""
    log_errors: LogErrors | None = None
    url: str = ""
    cred: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    checkout: str = ""
    common: str = ""
    runner_args: tuple[str, ...] = ()
    runner_config: str = ""
    elastic: str = ""
    mpi_launch: str = ""
    transport: str = "auto"

    @property
    def in_container(self) -> bool:
        """Whether a container encloses the script; else it runs on the host itself."""
        return self.runtime != "process"

    @property
    def result_places(self) -> tuple[str, ...]:
        """Where the `multiple_results` file may lie below the work directory, the first choice first."""
        if not self.multiple_results:
            return ()
        below = (f"{self.run_directory}/{self.multiple_results}",) if self.run_directory else ()
        return (self.multiple_results, *below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A bind mount of the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What `docker run` is given, as data; `docker_argv` and `engine_config` say it in the two languages.

    `gpus` is `all`, or ids and indices such as `GPU-ab,GPU-cd`, for the engine's GPU request; `cdi` names devices as
    `nvidia.com/gpu=0`, the other way to ask. `program` is the command line client: docker or podman. `hosts`: names of
    the nodes for the container's /etc/hosts, `name:address`; `{hosts}` until all have joined. `cpus`: those that it may
    use, as `0-3,8`; empty for all. `options`: free-form words, which the command line client alone understands.
    `cgroup_parent`: the cgroup in which the engine makes that of the container; empty for its own place.
    """

    name: str
    image: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    workdir: str
    env: dict[str, str]
    mounts: tuple[Mount, ...]
    labels: dict[str, str]
    network: str
    ipc: str
    shm_size: int
    ulimits: dict[str, int]
    user: str = "0"  # by number: an image need not have a list of users
    program: str = "docker"
    gpus: str = ""
    cdi: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    log_driver: str = "none"
    hosts: tuple[str, ...] = ()
    cpus: str = ""
    cgroup_parent: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProcess:
    """What the process runtime starts on the host itself."""

    command: tuple[str, ...]
    workdir: str
    env: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """What one node does: rank, addresses, and the exact container or process.

    `gpus` are the indices of the GPUs that the job gets here. `mirror_root`: the directory of the mirrors,
    which all nodes see, or with `local_data` each has for itself; empty without mirrors. `fetches`: the ways to fill a
    path of `data_sources` first; `own_data`: of these, what every node fills by itself. `check_reach`: nodes that do
    not reach each other are refused. `checkout`: what of a MAD repository stands in its workspace. `placed`: files that
    are not in the card's folder and stand among its work files, by name. `cache`: where this user's runs share models.
    `dockerfile`: that of a MAD card, relative to the repository. `runner_config`: where this host has the runner's
    configuration file. `host_list`: the names of HOST_LIST. `hcas`: the RDMA ports that are to carry the job, as
    `mlx5_0:1`. A node whose role is `hold` waits for what the runner of node 0 starts on it.
    """

    node_rank: int
    hostname: str
    role: Literal["script", "hold"]
    master_addr: str
    master_port: int
    control_port: int
    nccl_ifname: str
    gloo_ifname: str
    card_folder: str
    files: tuple[str, ...]
    repository: str
    data_sources: dict[str, str]
    mirrors: dict[str, str]
    owner: str
    container: Container | None = None
    process: HostProcess | None = None
    gpus: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    mirror_root: str = ""
    local_data: bool = False
    check_reach: bool = True
    checkout: tuple[Entry, ...] = ()
    fetches: dict[str, tuple[Fetch, ...]] = field(default_factory=dict)
    own_data: tuple[str, ...] = ()
    placed: dict[str, str] = field(default_factory=dict)
    cache: str = ""
    dockerfile: str = ""
    runner_config: str = ""
    host_list: tuple[str, ...] = ()
    hcas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole plan; `job_hash` leaves out addresses, ports and the run id."""

    format: int
    madrun: str
    job: JobPlan
    job_hash: str
    nodes: tuple[NodePlan, ...]

    @property
    def node(self) -> NodePlan:
        """The part of the node that made this plan."""
        return self.nodes[0]


def filled(values: dict[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """The values with what a plan only refers to in its place: secrets never stand in a plan."""
    return {name: secrets.get(name, value) if value == SECRET else value for name, value in values.items()}


def make_plan(madrun: str, job: JobPlan, node: NodePlan) -> Plan:
    """A plan of one node's view; node 0 adds the others' parts when they have joined."""
    return Plan(format=FORMAT, madrun=madrun, job=job, job_hash=sha256(job), nodes=(node,))


def sealed(plan: Plan) -> dict[str, Any]:
    """The plan as a file holds it: plain data and a checksum of all of it, by which an edited file is known."""
    plain: dict[str, Any] = to_plain(plan)
    return {**plain, CHECKSUM: sha256(plain)}
