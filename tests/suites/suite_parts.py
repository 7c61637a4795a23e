"""Suites that the tests of the bookkeeping have in common."""

from __future__ import annotations

from typing import Any

from madrun.spec.record import Failure, MetricResult, NodeOutcome, Record
from madrun.suites.suite import Case, Suite


def suite(*names: str, nnodes: int | None = None, **more: Any) -> Suite:
    """A suite of cases of these names."""
    made = tuple(Case(name=name, words=("--tags", name), nnodes=nnodes) for name in names)
    cases = more.pop("cases", made)
    known = {"id": "20261121T000000Z-trial-abcdef", "name": "trial", "cwd": "/", "results": "/results"}
    known |= {"command": ("madrun", "suite"), "madrun": "0"}
    return Suite(cases=cases, hashes=tuple(case.hash for case in cases), **{**known, **more})


def record(card: str = "a", value: float | None = 1.0, **more: Any) -> Record:
    """A record of a run that measured this value, else one that measured nothing."""
    metrics = (MetricResult(metric="speed", value=value, text=f"{value}", unit="tok/s", primary=True),) if value else ()
    known: dict[str, Any] = {
        "format": 1,
        "run_id": f"run-of-{card}",
        "card": card,
        "status": "SUCCESS" if value else "FAILURE",
        "valid": bool(value),
        "reasons": () if value else ("nothing was measured",),
        "exit_code": 0 if value else 3,
        "started_at": "",
        "ended_at": "",
        "plan_hash": "",
        "madrun": "0",
        "command": (),
        "tags": (),
        "args": "",
        "runner": "plain",
        "runtime": "process",
        "backend": "",
        "nnodes": 2,
        "nproc_per_node": 1,
        "vendor": "cpu",
        "metrics": metrics,
        "timings": {"prepare": 1.0, "run": 9.0},
    }
    return Record(**{**known, **more})


def lost(card: str, rank: int, kind: str = "node lost") -> Record:
    """A record of a run that failed for one of its nodes."""
    nodes = tuple(NodeOutcome(node=number, hostname=f"n{number}.site") for number in range(2))
    culprit = Failure(kind=kind, text=f"node {rank} was lost\nmore", node=rank)
    return record(card, None, culprit=culprit, nodes=nodes)
