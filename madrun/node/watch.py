"""Looks after the processes of one box while the script runs: telemetry, stalls, evidence."""

from __future__ import annotations

from madrun.node.link import Link
from madrun.node.workspace import Workspace
from madrun.spec.plan import JobPlan, NodePlan
from madrun.spec.record import Failure

Summary = dict[str, dict[str, float | None]]


class Watch:
    """Made before the script starts; `pid` is the driver's as this host sees it, None where it cannot be seen."""

    def __init__(self, job: JobPlan, node: NodePlan, space: Workspace, link: Link, pid: int | None) -> None:
        self._job, self._node, self._space, self._link, self._pid = job, node, space, link, pid

    def start(self) -> None:
        """From now on samples are written to telemetry.csv, once a second."""

    def look(self) -> Failure | None:
        """On node 0 the failure of a run that stalls on all nodes; cheap enough for every few milliseconds."""
        return None

    def examine(self) -> tuple[str, ...]:
        """Writes what tells why the run stands still, within ten seconds; names below the node's directory."""
        return ()

    def stop(self) -> Summary:
        """Ends the sampling; by column mean, max and last."""
        return {}
