"""How the agents of a command become one: node 0 listens, everyone connects, the jobs are compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from madrun import __version__
from madrun.errors import NodesError
from madrun.node.gate import gate_of, offer
from madrun.node.intake import Intake
from madrun.node.judges import JUDGES
from madrun.node.link import Link, PeerLink, SoloLink, connect
from madrun.node.protocol import hello
from madrun.node.task import Interrupt, Reporter
from madrun.planning.job import summary
from madrun.spec.facts import HostFacts
from madrun.spec.plan import Plan
from madrun.spec.record import Gate
from madrun.units import format_duration

if TYPE_CHECKING:
    from madrun.node.server import Server

_NEWS_EVERY_S = 5.0


@dataclass(slots=True)
class Party:
    """The link of this node, and on node 0 the server behind it."""

    link: Link
    server: Server | None = None
    intake: Intake | None = None
    gate: Gate | None = None

    def close(self) -> None:
        """Leaves; node 0 ends the channel for all."""
        self.link.close()
        if self.server is not None:
            self.server.close()


def join(plans: list[Plan], facts: HostFacts, timeout_s: float, interrupt: Interrupt, reporter: Reporter) -> Party:
    """Returns when every node has joined with the same jobs; raises `NodesError`, `Aborted` or `Stopped`."""
    node, job = plans[0].node, plans[0].job
    if job.nnodes == 1:
        return Party(SoloLink(JUDGES))
    reporter.phase("join")
    server = None
    if node.node_rank == 0:
        from madrun.node.server import Server

        server = Server(node.master_addr, node.control_port, job.nnodes, JUDGES)
    room = _WaitingRoom(plans[0], timeout_s, interrupt, reporter)
    try:
        connection = connect(node.master_addr, node.control_port, timeout_s, room.not_yet)
        link = PeerLink(connection, room.waiting, room.pause)
        link.greet(hello(node.node_rank, job.nnodes, node.hostname))
        jobs = [{"hash": plan.job_hash, "summary": summary(plan.job)} for plan in plans]
        payload = {"hostname": node.hostname, "madrun": __version__, "jobs": jobs, "offer": offer(plans[0], facts)}
        found, _ = link.meet("join/jobs", payload)
    except BaseException:
        if server is not None:
            server.close()
        raise
    room.joined = True
    return Party(link, server, Intake() if server else None, gate_of(found))


class _WaitingRoom:
    """Says who is waited for, and ends the wait at the time limit or at a signal."""

    def __init__(self, plan: Plan, timeout_s: float, interrupt: Interrupt, reporter: Reporter) -> None:
        self.joined = False
        self._plan, self._timeout, self._interrupt, self._reporter = plan, timeout_s, interrupt, reporter
        self._started = self._told = time.monotonic()
        self._missing: list[int] = []

    def not_yet(self, waited: float, reason: str) -> None:
        """Node 0 does not answer yet."""
        node = self._plan.node
        self._interrupt.check(self._plan.node.node_rank)
        if waited and time.monotonic() - self._told > _NEWS_EVERY_S:
            self._told = time.monotonic()
            place = f"{node.master_addr} port {node.control_port}"
            self._reporter.line(f"waiting for node 0 at {place} for {format_duration(waited)} ({reason})")

    def waiting(self, joined: list[int], missing: list[int]) -> None:
        """News from node 0: who is there and who is not."""
        self._missing = missing
        if missing:
            self._reporter.line(f"joined: node {_ranks(joined)}; waiting for: node {_ranks(missing)}")

    def pause(self) -> None:
        """Called while nothing happens."""
        self._interrupt.check(self._plan.node.node_rank)
        waited = time.monotonic() - self._started
        if not self.joined and waited > self._timeout:
            raise NodesError(
                f"after {format_duration(waited)} (--join-timeout) node {_ranks(self._missing)} of "
                f"{self._plan.job.nnodes} had not joined at {self._plan.node.master_addr} port "
                f"{self._plan.node.control_port}; start madrun there with the same NNODES and its own NODE_RANK"
            )


def _ranks(ranks: list[int]) -> str:
    """`0-3,7`: long lists of ranks stay readable."""
    parts: list[list[int]] = []
    for rank in sorted(ranks):
        if parts and rank == parts[-1][-1] + 1:
            parts[-1].append(rank)
        else:
            parts.append([rank])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts) or "none"
