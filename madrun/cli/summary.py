"""What came of all the runs of one command: a table for people, a document for programs."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from madrun.cli.leftout import Written
from madrun.cli.prepare import Planned
from madrun.cli.shownpath import shown_path
from madrun.cli.verdict import quoted
from madrun.node.ended import Ended
from madrun.spec.codec import to_plain
from madrun.spec.record import MetricResult
from madrun.units import format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One run that has come to its end, with the command that repeats it and where its time went."""

    planned: Planned
    ended: Ended
    again: tuple[str, ...]
    timings: dict[str, float]

    @property
    def card(self) -> str:
        """The card's name."""
        return self.planned.plan.job.card

    @property
    def status(self) -> str:
        """SUCCESS, FAILURE or SKIPPED, also on a node that has no record."""
        return self.ended.status or ("SUCCESS" if self.ended.exit_code == 0 else "FAILURE")

    @property
    def primary(self) -> MetricResult | None:
        """The metric that stands for the run: the primary one, else the first; None where nothing is to be believed."""
        record = self.ended.record
        if record is None or not record.valid or not record.metrics:
            return None
        return next((metric for metric in record.metrics if metric.primary), record.metrics[0])


def summary_lines(runs: list[Finished], left_out: Sequence[Written] = ()) -> list[str]:
    """A row for each of several runs, then median and spread of those that are one plan; nothing for one run.

    Cards that were left out stand before those that were run.
    """
    if len(runs) + len(left_out) < 2:
        return []
    rows = [("card", "status", "value or cause", "time", "run")]
    rows += [
        (one.left_out.name, one.left_out.status, _why(one), "-", shown_path(one.run.path) if one.run else "-")
        for one in left_out
    ]
    rows += [
        (
            run.card,
            run.status,
            _value(run.primary) if run.status == "SUCCESS" else _cause(run),
            format_duration(run.ended.outcome.script_s),
            shown_path(run.ended.run.path),
        )
        for run in runs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    table = ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    judged = [run for run in runs if run.ended.record is not None]  # another node does not know what counts
    spreads = [_spread_line(spread) for spread in spreads_of(judged)]
    return [f"summary: {_counts(row[1] for row in rows[1:])}", *(line.rstrip() for line in table), *spreads]


def _counts(statuses: Iterable[str]) -> str:
    found = Counter(statuses)
    return ", ".join(f"{found[status]} {status}" for status in ("SUCCESS", "FAILURE", "SKIPPED") if found[status])


def _why(one: Written) -> str:
    """In a word why a card was left out: what failed, or what asked for it."""
    return one.left_out.kind or one.left_out.reason.partition(":")[0]


def _cause(run: Finished) -> str:
    """In a word why a run says no value: the kind of its culprit, or that what it measured does not count."""
    if run.status == "SKIPPED" or run.ended.record is None:
        return "-"
    return run.ended.culprit.kind if run.ended.culprit else "invalid"


def _value(metric: MetricResult | None) -> str:
    return f"{metric.text} {metric.unit or metric.metric}" if metric else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The primary metric over the repetitions of one plan; `values` are those of the valid runs, in order."""

    card: str
    job_hash: str
    runs: int
    metric: str
    unit: str
    values: tuple[float, ...]
    median: float | None
    min: float | None
    max: float | None


def spreads_of(runs: Iterable[Finished]) -> list[Spread]:
    """One for each plan that was run more than once."""
    groups: dict[str, list[Finished]] = {}
    for run in runs:
        groups.setdefault(run.planned.plan.job_hash, []).append(run)
    return [_spread(group) for group in groups.values() if len(group) > 1]


def _spread(group: list[Finished]) -> Spread:
    found = [metric for run in group if (metric := run.primary)]
    values = tuple(metric.value for metric in found)
    return Spread(
        card=group[0].card,
        job_hash=group[0].planned.plan.job_hash,
        runs=len(group),
        metric=found[0].metric if found else "",
        unit=found[0].unit if found else "",
        values=values,
        median=statistics.median(values) if values else None,
        min=min(values, default=None),
        max=max(values, default=None),
    )


def _spread_line(spread: Spread) -> str:
    head = f"  {spread.card}: {len(spread.values)} of {spread.runs} runs valid"
    if spread.median is None or spread.min is None or spread.max is None:
        return head
    unit = f" {spread.unit}" if spread.unit else ""
    wide = (spread.max - spread.min) / abs(spread.median) * 100 if spread.median else 0.0
    between = f"{spread.min:.6g} .. {spread.max:.6g}"
    return f"{head}, {spread.metric} median {spread.median:.6g}{unit} ({between}, {wide:.1f} % apart)"


def document(
    runs: list[Finished], exit_code: int, before: dict[str, float], error: str = "", left_out: Sequence[Written] = ()
) -> dict[str, Any]:
    """What `run --json` prints: every run with its metrics or its culprit, spreads, and the command's exit code."""
    return {
        "exit_code": exit_code,
        "error": error,
        "timings": before,
        "runs": [_as_document(run) for run in runs],
        "spreads": to_plain(spreads_of(runs)),
        "left_out": [
            {
                "card": one.left_out.name,
                "status": one.left_out.status,
                "reason": one.left_out.reason,
                "run_id": one.run.run_id if one.run else "",
            }
            for one in left_out
        ],
    }


def _as_document(run: Finished) -> dict[str, Any]:
    ended, plan = run.ended, run.planned.plan
    return {
        "card": run.card,
        "status": run.status,
        "exit_code": ended.exit_code,
        "run_id": ended.run.run_id,
        "run_dir": str(ended.run.path),
        "node": plan.node.node_rank,
        "job_hash": plan.job_hash,
        "repeats": run.planned.repeats,
        "changes": list(run.planned.changes),
        "script_s": ended.outcome.script_s,
        "primary": to_plain(run.primary),
        "metrics": to_plain(ended.record.metrics) if ended.record and ended.record.valid else [],
        "reasons": list(ended.reasons),
        "culprit": to_plain(ended.culprit),
        "notes": [*run.planned.notes, *plan.node.notes],
        "timings": run.timings,
        "again": quoted(run.again),
    }
