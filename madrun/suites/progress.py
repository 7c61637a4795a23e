"""How far a suite has come: folded from its journal, which has a line for each change of state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from madrun.spec.codec import from_plain
from madrun.spec.validation import Invalid

CaseStatus = Literal["pending", "running", "success", "failed", "invalid", "skipped", "interrupted"]
STATUSES: tuple[CaseStatus, ...] = get_args(CaseStatus)
UNFINISHED: tuple[CaseStatus, ...] = ("pending", "interrupted")
BEGUN, RUNNING, ENDED, SKIPPED, BAD, ADDED = "begun", "running", "ended", "skipped", "bad node", "added"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRun:
    """One run of an attempt, out of its record. `seconds`: of all its phases; `value` is None where none is valid.

    `card` of a run that was left out may be anything that was asked for.
    """

    run_id: str
    card: str
    status: str
    nnodes: int
    seconds: float
    value: float | None = None
    text: str = ""
    metric: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One time that a case was begun. `status` is `running` until its end is known. `seconds`: by the driver's clock.

    `hosts`: by rank, empty where the backend chooses them. `launch`: the id of its launch, while it runs only of one
    that needs no driver, and later of one that failed.
    """

    number: int
    status: CaseStatus = "running"
    at: float = 0.0
    nnodes: int = 1
    hosts: tuple[str, ...] = ()
    exit_code: int | None = None
    seconds: float = 0.0
    reason: str = ""
    runs: tuple[CaseRun, ...] = ()
    launch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseState:
    """A case with all its attempts, the newest last. `reason` is that of a case that was skipped, or of its end."""

    status: CaseStatus = "pending"
    reason: str = ""
    attempts: tuple[Attempt, ...] = ()


@dataclass(slots=True)
class Progress:
    """The state of every case, by its name; `bad` are nodes that were found to be at fault, and why."""

    names: tuple[str, ...]
    states: dict[str, CaseState] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)

    def of(self, name: str) -> CaseState:
        """The state of a case; pending where the journal says nothing of it."""
        return self.states.get(name, _PENDING)

    def count(self, status: CaseStatus) -> int:
        """How many cases have it."""
        return sum(self.of(name).status == status for name in self.names)

    def due(self) -> list[str]:
        """Names of the cases that are to be run, in order: those that go on elsewhere are none of them."""
        return [name for name in self.names if self.of(name).status in UNFINISHED]

    def take(self, event: Mapping[str, Any]) -> None:
        """Applies one line of the journal. What makes no sense is left out: an older or newer madrun wrote it."""
        kind, name = event.get("event"), event.get("case")
        if kind == BEGUN:
            for again in event.get("again", ()):
                self.states[again] = replace(self.of(again), status="pending", reason="")
        elif kind == BAD and isinstance(event.get("host"), str):
            self.bad[event["host"]] = str(event.get("reason", ""))
        elif isinstance(name, str):
            self.states[name] = _changed(self.of(name), str(kind), event)

    def launched(self) -> list[tuple[str, Attempt]]:
        """Attempts whose end is not known yet and which need no driver."""
        return [(name, attempt) for name, attempt in self._running() if attempt.launch]

    def _running(self) -> list[tuple[str, Attempt]]:
        return [(name, self.of(name).attempts[-1]) for name in self.names if self.of(name).status == "running"]

    def driver_died(self) -> list[tuple[str, Attempt]]:
        """Attempts that no driver follows any more: their cases are interrupted from now on."""
        lost = [(name, attempt) for name, attempt in self._running() if not attempt.launch]
        for name, attempt in lost:
            self.states[name] = _with_last(self.of(name), replace(attempt, status="interrupted"))
        return lost


_PENDING = CaseState()


def fold(names: Iterable[str], events: Iterable[Mapping[str, Any]]) -> Progress:
    """The progress that these lines mean."""
    progress = Progress(tuple(names))
    for event in events:
        progress.take(event)
    return progress


def _changed(state: CaseState, kind: str, event: Mapping[str, Any]) -> CaseState:
    if kind == SKIPPED:
        return replace(state, status="skipped", reason=str(event.get("reason", "")))
    try:
        attempt = from_plain(Attempt, event.get("attempt"))
    except Invalid:
        return state
    if kind == RUNNING:
        return replace(state, status="running", reason="", attempts=(*state.attempts, attempt))
    if kind != ENDED:
        return state
    if state.attempts and state.attempts[-1].number == attempt.number:
        return _with_last(state, attempt)
    return replace(state, status=attempt.status, reason=attempt.reason, attempts=(*state.attempts, attempt))


def _with_last(state: CaseState, attempt: Attempt) -> CaseState:
    return replace(state, status=attempt.status, reason=attempt.reason, attempts=(*state.attempts[:-1], attempt))
