"""What the context says of SLURM."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

from madrun.backends.settings import checked, wrong
from madrun.backends.slurm.lines import SRUN_OWN, line_problem, word_problem
from madrun.backends.slurm.times import TIME_FORMS, parse_time, time_text
from madrun.errors import ContextError
from madrun.spec.card import Vendor
from madrun.spec.validation import Problem
from madrun.units import parse_duration

Count = Annotated[int, Ge(1)]
_GPUS = re.compile(r"(?:[A-Za-z0-9_.+-]+:)?[1-9][0-9]*", re.ASCII)
_MEMORY = re.compile(r"none|[0-9]+[KMGT]?", re.ASCII | re.IGNORECASE)
_WORDS = ("partition", "account", "qos", "constraint", "reservation", "nodelist", "exclude", "mail_type", "mail_user")
# Keys that MAD knows and that change nothing here, with what stands in their place.
_WITHOUT_EFFECT = {
    "output_dir": "the job's files lie in the launch folder below --results",
    "results_dir": "--results names the folder of the results",
    "shared_workspace": "--results names a folder that all nodes see",
    "enable_node_check": "madrun checks every node at each start",
    "verbose_node_check": "madrun doctor shows what it checks on a node",
    "auto_cleanup_nodes": "madrun removes what dead runs have left at each start",
    "allow_submit_without_clean_nodes": "madrun checks the nodes in the job, not before",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmSettings:
    """By sbatch's names where it has them. `time`: text of sbatch(1) or a duration; none: the partition's default.

    `gpus`: by which option GPUs are asked for. `mem`: None is all of a node where it is exclusive, `none` says nothing.
    `signal_s`: how long before the time limit the run is told to end. `sbatch`, `srun`: further lines and words.
    `poll_s`: seconds between questions to the scheduler. `pending_limit`: seconds after which a job that has not begun
    is cancelled; None waits. With `containers` pyxis or apptainer: `image` and `vendor` where those of the card are not
    meant, `mounts` (path in the container: path on the host), `madrun` carried in the launch folder or installed in the
    image, `apptainer`: further words of it. The last keys are MAD's: those without effect are named in a note.
    """

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: str | None = None
    nodes: Count | None = None
    gpus_per_node: str | int | None = None
    gpus: Literal["gpus_per_node", "gpus_per_task", "gres"] = "gpus_per_node"
    constraint: str | None = None
    reservation: str | None = None
    exclusive: bool | Literal["user", "mcs", "topo"] = True
    nodelist: str | None = None
    exclude: str | None = None
    cpus_per_task: Count | None = None
    mem: str | None = None
    requeue: bool = False
    max_restarts: Annotated[int, Ge(0)] = 3
    comment: str | None = None
    mail_type: str | None = None
    mail_user: str | None = None
    signal_s: Annotated[int, Ge(0), Le(65535)] = 90
    sbatch: tuple[str, ...] = ()
    srun: tuple[str, ...] = ()
    containers: Literal["docker", "pyxis", "apptainer"] = "docker"
    image: str | None = None
    vendor: Vendor | None = None
    mounts: dict[str, str] = field(default_factory=dict)
    madrun: Literal["carry", "installed"] = "carry"
    apptainer: tuple[str, ...] = ()
    array_limit: Count | None = None
    poll_s: Annotated[float, Ge(0.1), Le(600)] = 5.0
    pending_limit: float | str | None = None
    modules: tuple[str, ...] = ()
    network_interface: str | None = None
    output_dir: str | None = None
    results_dir: str | None = None
    shared_workspace: str | None = None
    enable_node_check: bool | None = None
    verbose_node_check: bool | None = None
    auto_cleanup_nodes: bool | None = None
    allow_submit_without_clean_nodes: bool | None = None

    @property
    def limit(self) -> str | None:
        """The time limit in the one form that is rendered; None where nothing was said."""
        return None if self.time is None else time_text(parse_time(self.time))

    @property
    def pending_limit_s(self) -> float | None:
        """Seconds, None for no limit."""
        return None if self.pending_limit is None else parse_duration(self.pending_limit)

    @property
    def notes(self) -> tuple[str, ...]:
        """On what was said and has no effect."""
        given = [(name, text) for name, text in _WITHOUT_EFFECT.items() if getattr(self, name) is not None]
        return tuple(f"slurm.{name} has no effect: {text}" for name, text in given)


def read(values: Mapping[str, Any], nnodes: int | None, env: Mapping[str, str] = {}) -> tuple[SlurmSettings, int]:
    """Settings and the number of nodes: as asked for, else `slurm.nodes`, else all of the allocation, else 1.

    `ContextError` names every key that is wrong. `env`: where an allocation says that this process is inside of it.
    """
    if isinstance(values.get("time"), (int, float)):  # YAML reads 1:30:00 without quotes as 5400
        raise ContextError(f"slurm.time: found the number {values['time']}, allowed: {TIME_FORMS}; put it in quotes")
    settings = checked(SlurmSettings, "slurm", _listed(values))
    if problems := list(_problems(settings)):
        raise wrong("slurm", problems)
    if nnodes is not None and settings.nodes is not None and nnodes != settings.nodes:
        raise ContextError(f"slurm.nodes: found {settings.nodes}, but {nnodes} nodes were asked for; leave one out")
    inside = allocated(env)
    count = nnodes or settings.nodes or inside or 1
    if inside is not None and count > inside:
        raise ContextError(
            f"slurm.nodes: found {count} inside job {env['SLURM_JOB_ID']}, which has {inside}; allowed: 1 to {inside}"
        )
    return settings, count


def allocated(env: Mapping[str, str]) -> int | None:
    """The number of nodes of the allocation that this process stands in; None outside, and in a launch's own task."""
    nodes = env.get("SLURM_JOB_NUM_NODES", "")
    return int(nodes) if env.get("SLURM_JOB_ID") and nodes.isdecimal() else None


def _listed(values: Mapping[str, Any]) -> dict[str, Any]:
    """One line where a list is meant is a list of it; times and numbers stay what they are."""
    known = dict(values)
    for name in ("sbatch", "srun", "modules", "apptainer"):
        if isinstance(known.get(name), str):
            known[name] = [known[name]]
    return known


def _problems(settings: SlurmSettings) -> Iterator[Problem]:
    for name in _WORDS:
        if (text := getattr(settings, name)) is not None and (problem := word_problem(text)):
            yield Problem((name,), problem)
    yield from _malformed(settings)
    for number, line in enumerate(settings.sbatch):
        if problem := line_problem(line):
            yield Problem(("sbatch", number), problem)
    for name, number, word in _further(settings):
        if not word.startswith("--") or not word.isprintable():
            yield Problem((name, number), f"found {word[:60]!r}, allowed: an option of {name} as one word, --key=value")
        elif name == "srun" and word.partition("=")[0] in SRUN_OWN:
            yield Problem((name, number), f"found {word[:60]!r}, which madrun sets itself; leave it out")


def _malformed(settings: SlurmSettings) -> Iterator[Problem]:
    """Values that are text of a form of their own."""
    for name, parse in (("time", parse_time), ("pending_limit", parse_duration)):
        try:
            if (value := getattr(settings, name)) is not None:
                parse(value)
        except ValueError as error:
            yield Problem((name,), str(error))
    gpus = settings.gpus_per_node
    if gpus is not None and not _GPUS.fullmatch(str(gpus)):
        yield Problem(("gpus_per_node",), f"found {gpus!r}, allowed: a number from 1, or TYPE:NUMBER")
    if settings.mem is not None and not _MEMORY.fullmatch(settings.mem):
        yield Problem(("mem",), f"found {settings.mem!r}, allowed: a number with K, M, G or T, 0 for all, or none")
    if settings.comment is not None and not settings.comment.isprintable():
        yield Problem(("comment",), "found a line break or a control character, allowed: one line of text")


def _further(settings: SlurmSettings) -> Iterator[tuple[str, int, str]]:
    for name in ("srun", "apptainer"):
        for number, word in enumerate(getattr(settings, name)):
            yield name, number, word
