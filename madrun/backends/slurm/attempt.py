"""What the scripts of a job have written into its launch folder: the truth on how far it has come."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from madrun.backends.state import NodeState
from madrun.errors import ExitCode

_FOLDER = re.compile(r"attempt-([0-9]+)", re.ASCII)
_NODE = re.compile(r"node-([0-9]+)\.state", re.ASCII)
OWN = tuple(range(ExitCode.NO_COMPARISON + 1))  # codes that madrun ends with by itself
JOB_LOG, JOB_STATE = "job.log", "job.state"
CANCELLED = "cancelled"  # in the folder: madrun was asked to cancel the job, which is not to be queued again


@dataclass(frozen=True, slots=True)
class Task:
    """One node's task; `code` of what it ran, None before that, `ended` seconds since the epoch."""

    rank: int
    host: str
    code: int | None
    ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One start of the job. `code`: of the job script, None while it runs; `signal`: what ended it from outside.

    `ran`: how long it had run by then, and its limit, as squeue prints them: `5:02 1:00:00`. `requeued`: it asked to be
    queued again.
    """

    number: int
    path: Path
    host: str = ""
    code: int | None = None
    signal: str = ""
    ran: str = ""
    requeued: bool = False
    tasks: dict[int, Task] = field(default_factory=dict)

    @property
    def said(self) -> bool:
        """Whether the madrun of node 0 has ended by itself, and so has said how its run ended."""
        return 0 in self.tasks and self.tasks[0].code in OWN

    @property
    def nodes(self) -> tuple[NodeState, ...]:
        """In the order of their ranks."""
        return tuple(
            NodeState(rank, task.host, "running" if task.code is None else f"ended with code {task.code}")
            for rank, task in sorted(self.tasks.items())
        )


def latest(folder: Path) -> Attempt | None:
    """The last start of the job; None as long as none has begun. Lines that are being written are left out."""
    found = [(int(match[1]), path) for path in _listed(folder) if (match := _FOLDER.fullmatch(path.name))]
    if not found:
        return None
    number, path = max(found)
    job = values(path / JOB_STATE)
    tasks = {}
    for file in _listed(path):
        if match := _NODE.fullmatch(file.name):
            said = values(file)
            rank = int(match[1])
            tasks[rank] = Task(rank, said.get("host", ""), _number(said.get("code")), _number(said.get("ended")) or 0)
    return Attempt(
        number=number,
        path=path,
        host=job.get("host", ""),
        code=_number(job.get("code")),
        signal=job.get("signal", ""),
        ran=job.get("ran", ""),
        requeued="requeued" in job,
        tasks=tasks,
    )


def values(file: Path) -> dict[str, str]:
    """Lines `key=value`, the last of a key; a line without its end is left out, and so is a missing file."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    whole = text[: text.rfind("\n") + 1]
    return {key: value for key, given, value in (line.partition("=") for line in whole.split("\n")) if given}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and text.isascii() else None


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
