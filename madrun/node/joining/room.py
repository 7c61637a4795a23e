"""The wait for the other nodes: says who is there and who is not, and ends at the time limit or at a signal."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from madrun.errors import NodesError
from madrun.node.channel.protocol import Message
from madrun.node.task import Interrupt, Reporter
from madrun.spec.plan import Plan
from madrun.spec.record import Failure
from madrun.units import format_duration

if TYPE_CHECKING:
    from madrun.node.channel.server import Server

_NEWS_EVERY_S = 5.0
_CHANGES_EVERY_S = 0.5
_RETRY_S = 0.5
_STAY_S, _TICK_S = 3.0, 0.02


class WaitingRoom:
    """One line at each change, though not more than two in a second, and one every five seconds.

    `fail` tells all nodes that the wait is over; it is there once node 0 has accepted this node.
    """

    def __init__(
        self, plan: Plan, timeout_s: float, interrupt: Interrupt, reporter: Reporter, server: Server | None
    ) -> None:
        self.joined = False
        self.fail: Callable[[Failure], None] | None = None
        self._node, self._nnodes, self._timeout = plan.node, plan.job.nnodes, timeout_s
        self._interrupt, self._reporter, self._server = interrupt, reporter, server
        self._started = time.monotonic()
        self._told = float("-inf")
        self._roll: tuple[str, str] = ("", "")
        self._shown: tuple[str, str] = ("", "")
        self._over = False

    @property
    def board(self) -> Callable[[], dict[int, Message]] | None:
        """On node 0 what each node told last."""
        return self._server.board if self._server is not None else None

    @property
    def left_s(self) -> float:
        """Seconds until the time limit."""
        return max(0.0, self._timeout - self._waited)

    @property
    def _waited(self) -> float:
        return time.monotonic() - self._started

    def not_yet(self, _waited: float, reason: str) -> None:
        """Node 0 does not answer yet."""
        self._interrupt.check(self._node.node_rank)
        if self._due(_NEWS_EVERY_S) and self._waited > 1:
            self._say(f"waiting for node 0 at {self._place} for {format_duration(self._waited)} ({reason})")

    def turned_away(self, reason: str) -> None:
        """Somebody took the connection and was no node 0, or had no time: `NodesError` after the time limit."""
        self.not_yet(0, reason)
        if self._waited > self._timeout:
            raise NodesError(
                f"node 0 did not answer at {self._place} for {format_duration(self._waited)} ({reason}); does another "
                "program listen there? node 0's MASTER_ADDR and CONTROL_PORT (MASTER_PORT + 1 unless given) count"
            )
        time.sleep(min(_RETRY_S, self._timeout))

    def waiting(self, joined: str, missing: str) -> None:
        """News from node 0: who is there and who is not."""
        self._roll = joined, missing

    def pause(self) -> None:
        """Called while nothing happens."""
        self._interrupt.check(self._node.node_rank)
        if self.joined:
            return
        for notice in self._server.notices() if self._server is not None else ():
            self._reporter.line(notice)
        self._show()
        if self._server is not None and self.fail is not None and self._waited > self._timeout and not self._over:
            self._over = True  # node 0 decides; what it says comes back to it as to all others
            self.fail(Failure(kind="join timeout", text=self._verdict(), node=0))

    def stay_for_late_ones(self) -> None:
        """On node 0, when a run is refused: nodes started at about the same time hear why, not that nobody listens."""
        until = time.monotonic() + _STAY_S
        while self._roll[1] not in ("", "none") and time.monotonic() < until and not self._interrupt.event.is_set():
            time.sleep(_TICK_S)
        if self._roll[1] == "none":
            time.sleep(_TICK_S * 5)  # for the last one to hear it

    def _show(self) -> None:
        joined, missing = self._roll
        if missing in ("", "none"):
            return
        changed = self._roll != self._shown
        if self._due(_CHANGES_EVERY_S if changed else _NEWS_EVERY_S):
            self._shown = self._roll
            waited = f" for {format_duration(self._waited)}" if self._waited >= 1 else ""
            self._say(f"joined: node {joined}; waiting{waited} for: node {missing}")

    def _verdict(self) -> str:
        joined, missing = self._roll
        after = f"after {format_duration(self._waited)} (--join-timeout) node {joined} had joined"
        if missing in ("", "none"):
            return f"{after}, and not all had sent what they are about to run; look at what each node prints"
        return (
            f"{after}; node {missing} of {self._nnodes} had not joined at {self._place}; "
            "start madrun there with the same NNODES and its own NODE_RANK"
        )

    def _due(self, every_s: float) -> bool:
        return time.monotonic() - self._told > every_s

    def _say(self, text: str) -> None:
        self._told = time.monotonic()
        self._reporter.line(text)

    @property
    def _place(self) -> str:
        return f"{self._node.master_addr} port {self._node.control_port}"
