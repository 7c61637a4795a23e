"""The record: the result of a run. Written last; a run directory without one is unfinished."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from madrun.spec.transport import NodeTransport, RunTransport

Status = Literal["SUCCESS", "FAILURE", "SKIPPED"]
FORMAT = 1
LEASE_ENDED = "the lease ended on node"  # how the failure of a madrun that stood still begins
UNCLASSIFIED = "script error"  # kind of the failure of a script of which nothing tells why


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measured value of one metric from one node; `text` is what was printed, to the letter.

    `times` says how often the node printed the metric up to this value, `differed` whether the values were different.
    `missing`: why a row has no number, though it names the metric; the value is then none.
    """

    node: int
    metric: str
    value: float
    text: str
    source: str
    model: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    times: int = 1
    differed: bool = False
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a node could not go on: class of the failure, one sentence, and the last lines of its output.

    `rank` is the global rank that failed first, where that is known; `evidence` names files below `node-<node>/`.
    """

    kind: str
    text: str
    node: int
    last_lines: tuple[str, ...] = ()
    exit_code: int | None = None
    rank: int | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RankEnd:
    """How a rank ended, by its node's clock; the exit code is negative for a signal. `last_lines` are its own."""

    rank: int
    at: float
    exit_code: int
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What was found out when the nodes became one run; ranks are those of nodes, as text where they are keys.

    `hosts`: name and address of each node, in order of rank. `offsets_s`: each node's clock minus node 0's; None where
    it could not be measured. `unreachable`: pairs (from, to) that were tried in vain. `notes`: what differs without
    making a number false.
    """

    hosts: tuple[tuple[str, str], ...] = ()
    offsets_s: dict[str, float | None] = field(default_factory=dict)
    tried: int = 0
    unreachable: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOutcome:
    """The data of one name: who provided them, how much it is, and for how long this node fetched it."""

    name: str
    provider: str
    bytes: int | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOutcome:
    """How the run went on one node; times are seconds of that node's own clock.

    `first_rank` is the rank that failed first here, None where none did or it is not known.

    `findings` stand against the run, `notes` do not. `image_identity` is equal where equal images ran. `telemetry` is
    the summary of telemetry.csv: by column, `mean`, `max` and `last`, None where nothing could be read. `oom_kills`
    counts processes of the run that the kernel killed for memory; None where it is not known. `commit`: what was cloned
    for a card with `url`. `skipped`: why the script was not started, empty where it was to be. `log_errors`: lines of
    the log of a MAD card that decide only where nothing was measured. `transport`: what its ranks talked over; None
    where nothing tells.
    """

    node: int
    hostname: str
    exit_code: int | None = None
    end_marker: bool = False
    failure: Failure | None = None
    samples: tuple[Sample, ...] = ()
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    image_id: str = ""
    image_identity: str = ""
    started_at: float = 0.0
    script_s: float = 0.0
    build_s: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()
    console: str = ""
    console_sha256: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    telemetry: dict[str, dict[str, float | None]] = field(default_factory=dict)
    oom_kills: int | None = None
    first_rank: RankEnd | None = None
    data: tuple[DataOutcome, ...] = ()
    commit: str = ""
    skipped: str = ""
    log_errors: tuple[str, ...] = ()
    transport: NodeTransport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must hold for the run to be believed; `one_row`: for one of its rows, the others stand without."""

    name: str
    passed: bool
    text: str = ""
    one_row: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricResult:
    """The value of one metric for the whole run; `text` is to the letter what a script printed, if one did.

    `missing`: why this row of a MAD card's `multiple_results` has no number.
    """

    metric: str
    value: float
    text: str
    unit: str = ""
    across_nodes: str = ""
    primary: bool = False
    higher_is_better: bool | None = None
    model: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a run when it has ended; every CSV row is derived from one of these.

    `partial`: it failed only because rows of its `multiple_results` lack their number; the other rows stand.
    `transport`: what the ranks talked over; None where they ran on one node and said nothing.
    """

    format: int
    run_id: str
    card: str
    status: Status
    valid: bool
    reasons: tuple[str, ...]
    exit_code: int
    started_at: str
    ended_at: str
    plan_hash: str
    madrun: str
    command: tuple[str, ...]
    tags: tuple[str, ...]
    args: str
    runner: str
    runtime: str
    backend: str
    nnodes: int
    nproc_per_node: int
    vendor: str
    metrics: tuple[MetricResult, ...] = ()
    checks: tuple[Check, ...] = ()
    nodes: tuple[NodeOutcome, ...] = ()
    culprit: Failure | None = None
    notes: tuple[str, ...] = ()
    timings: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    gate: Gate | None = None
    skew_s: float | None = None
    partial: bool = False
    transport: RunTransport | None = None
