"""How the nodes of a doctor's visit meet: as those of a run do, but nobody is refused for what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from madrun.doctor.verdicts import JUDGES
from madrun.errors import ContextError, NodesError
from madrun.node.channel.greeting import NotYet
from madrun.node.channel.link import PeerLink, SoloLink, connect
from madrun.node.channel.protocol import hello
from madrun.node.joining.join import Party
from madrun.node.task import Interrupt
from madrun.probe.environment import nodes_secret
from madrun.spec.facts import HostFacts
from madrun.spec.record import Failure
from madrun.spec.topology import Meeting
from madrun.units import format_duration

if TYPE_CHECKING:
    from madrun.node.channel.server import Server

_NEWS_EVERY_S, _RETRY_S = 5.0, 0.5
_EVERYWHERE = {4: "0.0.0.0", 6: "::"}


def gather(
    meeting: Meeting, facts: HostFacts, limit_s: float, interrupt: Interrupt, say: Callable[[str], None]
) -> Party:
    """Returns when this node is let in. On node 0 the others may still be on their way: the first stage waits for them.

    Raises `ContextError` and `NodesError` as `join` does, also where node 0 does not answer within `limit_s` seconds.
    """
    if meeting.nnodes == 1:
        return Party(SoloLink(JUDGES))
    if not _is_address(meeting.address):
        raise ContextError(f"no node can be found: MASTER_ADDR {meeting.address!r} means no address on this host")
    secret = nodes_secret()
    server = intake = launches = None
    if meeting.node_rank == 0:
        from madrun.node.channel.server import Server
        from madrun.node.delivery.intake import Intake
        from madrun.node.launching.head import Launches

        intake, launches = Intake(), Launches()
        doors = {"files": intake.door, "launch": launches.door}
        at = _places(meeting.address, facts)
        server = Server(at, meeting.port, meeting.nnodes, JUDGES, doors, secret=secret)
    wait = Wait(meeting, limit_s, interrupt, say, server)
    try:
        link = _enter(meeting, wait, secret)
    except BaseException:
        if server is not None:
            server.close()
        raise
    wait.link = link
    return Party(link, server, intake, None, launches)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _places(address: str, facts: HostFacts) -> list[str]:
    """Where node 0 listens: at MASTER_ADDR where others can use it, else everywhere, so that they can come."""
    known = {literal for interface in facts.interfaces for literal in interface.addresses}
    at = ip_address(address)
    if address in known and not (at.is_loopback and not _asked_for(address)):
        return [address]
    return [_EVERYWHERE[at.version]]


def _asked_for(address: str) -> bool:
    """127.0.0.1 is what a user writes for nodes on one host; 127.0.1.1 comes out of a table of names."""
    return address in ("127.0.0.1", "::1")


def _enter(meeting: Meeting, wait: Wait, secret: bytes) -> PeerLink:
    """Node 0 may start later than this node, and its own agent is let in as all others are."""
    here = meeting.address
    while True:
        connection = connect(here, meeting.port, wait.left_s, wait.not_yet)
        board = wait.server.board if wait.server is not None else None
        link = PeerLink(connection, wait.waiting, wait.pause, board)
        try:
            link.greet(hello(meeting.node_rank, meeting.nnodes, meeting.hostname, meeting.cards), secret)
            return link
        except NotYet as reason:
            wait.turned_away(str(reason))


@dataclass
class Wait:
    """Says who is awaited, and ends the waiting at the time limit or at a signal."""

    meeting: Meeting
    limit_s: float
    interrupt: Interrupt
    say: Callable[[str], None]
    server: Server | None = None
    link: PeerLink | None = None

    def __post_init__(self) -> None:
        self._started = time.monotonic()
        self._told = float("-inf")
        self._joined, self._missing = "", ""
        self._over = False

    @property
    def left_s(self) -> float:
        """Seconds until the time limit."""
        return max(0.0, self.limit_s - self._waited)

    @property
    def _waited(self) -> float:
        return time.monotonic() - self._started

    def not_yet(self, _waited: float, reason: str) -> None:
        """Node 0 does not answer yet."""
        self.interrupt.check(self.meeting.node_rank)
        if self._waited > 1:
            self._news(f"waiting for node 0 at {self.meeting.address} port {self.meeting.port} ({reason})")

    def turned_away(self, reason: str) -> None:
        """Somebody took the connection and was no node 0, or had no time: `NodesError` after the time limit."""
        self.not_yet(0, reason)
        if self._waited > self.limit_s:
            raise NodesError(
                f"node 0 did not answer at {self.meeting.address} port {self.meeting.port} for "
                f"{format_duration(self._waited)} ({reason}); does another program listen there?"
            )
        time.sleep(_RETRY_S)

    def waiting(self, joined: str, missing: str) -> None:
        """News from node 0: who is there and who is not."""
        self._joined, self._missing = joined, missing

    def pause(self) -> None:
        """Called while a node waits at a stage."""
        self.interrupt.check(self.meeting.node_rank)
        if self._missing in ("", "none") or self.link is None:
            return
        self._news(f"joined: node {self._joined}; waiting for: node {self._missing}")
        if self.server is not None and self._waited > self.limit_s and not self._over:
            self._over = True  # node 0 decides; what it says comes back to it as to all others
            text = (
                f"after {format_duration(self._waited)} (--join-timeout) node {self._joined} had come; node "
                f"{self._missing} of {self.meeting.nnodes} had not; start madrun doctor there with the same NNODES "
                "and its own NODE_RANK"
            )
            text = "; ".join((text, *self.server.notices()))
            self.link.fail(Failure(kind="join timeout", text=text, node=0))

    def _news(self, text: str) -> None:
        if time.monotonic() - self._told > _NEWS_EVERY_S:
            self._told = time.monotonic()
            self.say(text)
