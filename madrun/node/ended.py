"""How a run ended: what those read of it who have not conducted it, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from madrun.results.rundir import RunDir
from madrun.spec.record import Failure, NodeOutcome, Record, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended, as much of it as this node knows; `record` is there on node 0 alone."""

    exit_code: int
    run: RunDir
    outcome: NodeOutcome
    record: Record | None = None
    culprit: Failure | None = None
    reasons: tuple[str, ...] = ()
    warning: str = ""
    status: Status | Literal[""] = ""
