"""What a suite has brought and cost: rows for people, a document for programs, node-hours for a valid number."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from madrun.spec.codec import to_plain
from madrun.spec.record import MetricResult, Record
from madrun.suites.progress import STATUSES, Attempt, CaseRun, CaseState, CaseStatus, Progress
from madrun.suites.suite import Suite
from madrun.units import format_duration

HEAD = ("CASE", "NODES", "STATUS", "VALUE OR CAUSE", "ATTEMPTS", "NODE TIME")
_HOUR = 3600.0
_INTERRUPTED, _FAILED = 130, 3  # exit codes of `madrun run`
_LONGEST, _MOST_TROUBLES = 60, 10
AGAIN: tuple[CaseStatus, ...] = ("failed", "invalid")  # what is to be mended and run again


def run_of(record: Record) -> CaseRun:
    """What of a record is kept in a suite's journal. The value is that of the primary metric, else of the first."""
    metric = _primary(record) if record.valid and record.status == "SUCCESS" else None
    return CaseRun(
        run_id=record.run_id,
        card=record.card,
        status="INVALID" if record.status == "FAILURE" and record.culprit is None else record.status,
        nnodes=record.nnodes,
        seconds=round(sum(record.timings.values()), 3),
        value=metric.value if metric else None,
        text=metric.text if metric else "; ".join(record.reasons)[:400],
        metric=metric.metric if metric else "",
        unit=metric.unit if metric else "",
    )


def _primary(record: Record) -> MetricResult | None:
    return next((one for one in record.metrics if one.primary), next(iter(record.metrics), None))


def status_of(exit_code: int, runs: Iterable[CaseRun], interrupted: bool) -> CaseStatus:
    """What became of an attempt, by its exit code and its records.

    Invalid: it ran to its end, and what it measured is not to be believed. Where no record came here the exit code says
    all there is.
    """
    found = [run.status for run in runs]
    if interrupted or exit_code == _INTERRUPTED:
        return "interrupted"
    if "FAILURE" in found:
        return "failed"
    if "INVALID" in found:
        return "invalid"
    if found and set(found) == {"SKIPPED"} and exit_code in (0, _FAILED):
        return "skipped"  # madrun itself ends with a failure where nothing was measured
    return "failed" if exit_code else "success"


def node_seconds(attempt: Attempt) -> float:
    """Nodes times seconds: of its runs as their records have them, else of the whole attempt by the driver's clock."""
    if attempt.runs:
        return sum(run.nnodes * run.seconds for run in attempt.runs)
    return attempt.nnodes * attempt.seconds


def valid_numbers(state: CaseState) -> int:
    """How many primary metrics of its runs count, over all attempts."""
    return sum(run.value is not None for attempt in state.attempts for run in attempt.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of a case or of all: node-seconds over all attempts, and how many valid numbers came of them."""

    node_seconds: float
    valid: int

    @property
    def node_hours_per_valid(self) -> float | None:
        """None where there is no valid number."""
        return self.node_seconds / _HOUR / self.valid if self.valid else None


def cost_of(states: Iterable[CaseState]) -> Cost:
    """What these cases have cost together."""
    seconds, valid = 0.0, 0
    for state in states:
        seconds += sum(map(node_seconds, state.attempts))
        valid += valid_numbers(state)
    return Cost(node_seconds=seconds, valid=valid)


def rows(suite: Suite, progress: Progress) -> list[tuple[str, ...]]:
    """A row for each case, below `HEAD`."""
    found: list[tuple[str, ...]] = []
    for case in suite.cases:
        state = progress.of(case.name)
        attempts = str(len(state.attempts)) if state.attempts else ""
        nodes = str(case.nnodes or (state.attempts[-1].nnodes if state.attempts else 1))
        spent = format_duration(cost_of([state]).node_seconds) if state.attempts else ""
        found.append((case.name, nodes, state.status, _value(state), attempts, spent))
    return found


def _value(state: CaseState) -> str:
    if state.status == "success" and state.attempts:
        told = list(_values(state.attempts[-1].runs))
        if told:
            return ", ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")
    first = _cause(state).partition("\n")[0]
    return first if len(first) <= _LONGEST else f"{first[: _LONGEST - 3]}..."


def _values(runs: tuple[CaseRun, ...]) -> Iterator[str]:
    """What each card measured, the median where it ran several times; with its name where there are several."""
    groups: dict[tuple[str, str], list[CaseRun]] = {}
    for run in runs:
        if run.value is not None:
            groups.setdefault((run.card, run.unit or run.metric), []).append(run)
    cards = {card for card, _ in groups}
    for (card, unit), found in groups.items():
        values = [run.value for run in found if run.value is not None]
        text, of = found[0].text, ""
        if len(values) > 1:
            text = f"{statistics.median(values):.6g}"
            of = f" (median of {len(values)}, {min(values):.6g} .. {max(values):.6g})"
        yield f"{f'{card} ' if len(cards) > 1 else ''}{text} {unit}".rstrip() + of


def _cause(state: CaseState) -> str:
    """Why it is not well; where it has several cards, of which one."""
    runs = _at_fault(state)
    several = bool(runs) and len({run.card for run in state.attempts[-1].runs}) > 1
    return f"{runs[0].card}: {state.reason}" if several else state.reason


def _at_fault(state: CaseState) -> list[CaseRun]:
    """Runs of its newest attempt that failed, else those that do not count."""
    runs = state.attempts[-1].runs if state.attempts else ()
    failed = [run for run in runs if run.status == "FAILURE"]
    return failed or [run for run in runs if run.status == "INVALID"]


def trouble_lines(suite: Suite, progress: Progress, place: Callable[[str, str], str]) -> list[str]:
    """Of each case that failed or is not valid why, in full, and where its files are.

    `place`: the path of a run or launch as its reader finds it, by kind (`run`, `launch`) and id.
    """
    bad = [case.name for case in suite.cases if progress.of(case.name).status in AGAIN]
    lines = []
    for name in bad[:_MOST_TROUBLES]:
        state = progress.of(name)
        first, *more = _cause(state).splitlines() or [state.status]
        lines += [f"{state.status}: {name}", *(f"  {line}" for line in (first, *more))]
        runs, launch = _at_fault(state), state.attempts[-1].launch if state.attempts else ""
        lines += [f"  {place('run', run.run_id)}" for run in runs[:1]]
        lines += [f"  {place('launch', launch)}"] if launch and not runs else []
    if len(bad) > _MOST_TROUBLES:
        lines.append(f"and {len(bad) - _MOST_TROUBLES} more; --status --json shows all")
    return lines


def closing_lines(suite: Suite, progress: Progress) -> list[str]:
    """Counts, cost and bad nodes, below the rows."""
    counts = ", ".join(f"{count} {word}" for word in STATUSES if (count := progress.count(word)))
    cost = cost_of(progress.of(case.name) for case in suite.cases)
    per_valid = cost.node_hours_per_valid
    each = "" if per_valid is None else f", {per_valid:.3g} node-hours for a valid number"
    lines = [f"{counts}; {cost.valid} valid number{'' if cost.valid == 1 else 's'}"]
    lines.append(f"node time {format_duration(cost.node_seconds)}{each}")
    return [*lines, *(f"bad node {host}: {reason}" for host, reason in progress.bad.items())]


def document(suite: Suite, progress: Progress, exit_code: int) -> dict[str, Any]:
    """What `--json` prints."""
    cost = cost_of(progress.of(case.name) for case in suite.cases)
    return {
        "suite": suite.id,
        "name": suite.name,
        "exit_code": exit_code,
        "backend": suite.backend,
        "results": suite.results,
        "counts": {word: progress.count(word) for word in STATUSES},
        "node_seconds": round(cost.node_seconds, 3),
        "valid_numbers": cost.valid,
        "node_hours_per_valid_number": cost.node_hours_per_valid,
        "bad_nodes": dict(progress.bad),
        "cases": [_case_document(case.name, case.nnodes, case.words, progress) for case in suite.cases],
    }


def _case_document(name: str, nnodes: int | None, words: tuple[str, ...], progress: Progress) -> dict[str, Any]:
    state = progress.of(name)
    cost = cost_of([state])
    return {
        "name": name,
        "nnodes": nnodes,
        "words": list(words),
        "status": state.status,
        "reason": state.reason,
        "node_seconds": round(cost.node_seconds, 3),
        "valid_numbers": cost.valid,
        "node_hours_per_valid_number": cost.node_hours_per_valid,
        "attempts": to_plain(state.attempts),
    }


def exit_code(suite: Suite, progress: Progress) -> int:
    """The worst of its cases: 130 where one was interrupted, 3 where one failed, is not valid or was never begun."""
    found = {progress.of(case.name).status for case in suite.cases}
    if "interrupted" in found:
        return _INTERRUPTED
    return _FAILED if found & {"failed", "invalid", "pending", "running"} else 0
