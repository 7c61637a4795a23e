"""A launch: one command for all nodes. Every node gets the same folder with the same script, and variables of its own.

Whatever brings a node to start its script (ssh, srun, a pod, a service of Compose) sets these variables, or is a
scheduler whose own variables say the same; on the node they are a layer of the context like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

BackendName = Literal["ssh", "slurm", "kubernetes", "compose", "skypilot"]
# Those whose nodes are containers of the job's image already, so that nothing is enclosed once more.
ENCLOSED: tuple[BackendName, ...] = ("kubernetes", "compose", "skypilot")

PREFIX = "MADRUN_"
NODE_KEYS = ("NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "CONTROL_PORT")  # with PREFIX: multi_node_args
LAUNCH = "MADRUN_LAUNCH"  # `ssh:ID`: by what, and in which launch, this node was started
COMMAND = "MADRUN_COMMAND"  # what the user typed, as a JSON list: what a record says is to be typed again
LAYERS = "MADRUN_LAYERS"  # by flag the layer's name on the launching host, as JSON: what a user knows a file by
CASE = "MADRUN_CASE"  # `SUITE/CASE/ATTEMPT`: of what suite this run is a case; its record says so
LEASE = "MADRUN_LEASE"  # `stdin`: the run ends with its standard input, and when that is silent for too long
PROGRAM = "MADRUN_PROGRAM"  # the madrun of this node: one path
REPOSITORY, RESULTS = "MADRUN_REPOSITORY", "MADRUN_RESULTS"  # where this node has them, if not where the launch says
SHOWN = "MADRUN_SHOWN_RESULTS"  # what the user calls the place to which the results of this node are brought
BEAT_S, SILENCE_S = 2.0, 10.0  # how often a lease is renewed, and how long it lasts without
# Letters on a lease that ask the run to end as this signal would, and the name of each.
ASKED = {"I": "SIGINT", "T": "SIGTERM", "H": "SIGHUP"}
BROUGHT_HOME = "brought home"  # the event of a launch's journal that names `runs` whose directories came to the head
ROWS = "rows added"  # the event after which every table has the rows of its runs
BAD_HOSTS = "bad hosts"  # that which names `hosts` that could not take part or were lost, and why, by name
JOINED = "all nodes have joined"  # said by every node but node 0: from then on node 0 knows what becomes of it

SCRIPT, PRIVATE, FILE = "node.sh", "private.env", "launch.json"  # in the folder of the launch
CARRIED = "madrun/bin/madrun"  # there too, where the folder is all that the nodes get
UP = "up.sh"  # there too, where the user starts it: everything from the start to the results
ORIGIN = "madrun-origin.json"  # beside a copy of a repository: the commit that it is a copy of
HOME_LOCK = "home.lock"  # there too, held by whoever brings its results home when nobody attends it any more
SITE_FILE = "madrun-site.yaml"  # in a repository
FOLDERS = "launches"  # where below the results these folders are


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What all backends carry to the nodes. Paths are those of the host on which it was typed.

    `folder`: where this and the script lie. `settings`: the backend's part of the context, as it was said.
    `words`: those of `madrun run` on every node, without what names a file or folder of the launching host. `files`:
    texts beside the script by name; `given`: the flags that name them there, `--site` to `site.yaml`. `secrets`: names
    of variables whose values stand in the private file alone. `cards`: of which the runs are. `images`: by vendor the
    image of the first card, empty where it is built. `built`: images that the runs would use on this host, those
    that are built by the name of their recipe. `master_addr`: as the user gave it, else empty: the backend finds it.
    `modules`: environment modules that are loaded on each node first. `cache`: madrun's cache folder of the user.
    `runtime`: as the context says it.
    `output`: file to which the launching host adds the rows, beside those of the results; empty for none.
    """

    id: str
    backend: BackendName
    folder: str
    nnodes: int
    words: tuple[str, ...]
    files: dict[str, str]
    given: dict[str, str]
    env: dict[str, str]
    secrets: tuple[str, ...]
    cards: tuple[str, ...]
    images: dict[str, str]
    master_addr: str
    master_port: int
    control_port: int
    modules: tuple[str, ...]
    repository: str
    results: str
    command: tuple[str, ...]
    python: str
    version: str
    settings: dict[str, object] = field(default_factory=dict)
    built: tuple[str, ...] = ()
    cache: str = ""
    runtime: str = "auto"
    output: str = ""


@dataclass(frozen=True, slots=True)
class NodeStart:
    """What one node of a launch is told that the others are not."""

    rank: int
    host: str
    master_addr: str

    def env(self) -> dict[str, str]:
        """As variables of the node's script."""
        return {f"{PREFIX}NODE_RANK": str(self.rank), f"{PREFIX}MASTER_ADDR": self.master_addr}
