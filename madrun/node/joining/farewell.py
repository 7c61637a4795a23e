"""A node that cannot take part says so to the others, who would wait for it until --join-timeout."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from madrun.errors import MadrunError
from madrun.node.channel.greeting import NotYet
from madrun.node.channel.link import PeerLink
from madrun.node.channel.protocol import hello
from madrun.probe.environment import nodes_secret
from madrun.spec.record import Failure
from madrun.spec.topology import Meeting

if TYPE_CHECKING:
    from madrun.node.channel.server import Server

_CALL_S = 1.0  # for node 0 to answer where it is there already
_STAY_S = 2.0  # how long node 0 stays for nodes that are started at about the same time
_LAST_S = 0.5  # for what is under way when all have come
_BETWEEN_S = 0.02


def farewell(meeting: Meeting, reason: str) -> None:
    """Tells the nodes that can be reached within seconds why this one does not come; never raises."""
    if meeting.nnodes == 1:
        return
    where = f"node {meeting.node_rank} ({meeting.hostname})"
    failure = Failure(kind="node", text=f"{where} could not begin: {reason}", node=meeting.node_rank)
    with suppress(OSError, MadrunError, NotYet):
        if meeting.node_rank == 0:
            _stay(meeting, failure)
        else:
            _call(meeting, failure)


def _call(meeting: Meeting, failure: Failure) -> None:
    link = _greeted(meeting, meeting.address, _Roll())
    try:
        _tell(link, failure)
    finally:
        link.close()


def _stay(meeting: Meeting, failure: Failure) -> None:
    """Node 0 itself: listens for a moment, at all its addresses, for the one it was given may be what is wrong."""
    from madrun.node.channel.server import Server

    server: Server = Server("0.0.0.0", meeting.port, meeting.nnodes, {}, secret=nodes_secret())
    try:
        roll = _Roll()
        link = _greeted(meeting, "127.0.0.1", roll)
        _tell(link, failure)
        until = time.monotonic() + _STAY_S
        while time.monotonic() < until:
            time.sleep(_BETWEEN_S)
            if roll.complete:
                until = min(until, time.monotonic() + _LAST_S)
                roll.complete = False
        link.close()
    finally:
        server.close()


class _Roll:
    """Whether all nodes have come."""

    def __init__(self) -> None:
        self.complete = False

    def hear(self, _joined: str, missing: str) -> None:
        """News from node 0."""
        self.complete = missing == "none"


def _greeted(meeting: Meeting, address: str, roll: _Roll) -> PeerLink:
    connection = socket.create_connection((address, meeting.port), timeout=_CALL_S)
    link = PeerLink(connection, roll.hear, lambda: None)
    link.greet(hello(meeting.node_rank, meeting.nnodes, meeting.hostname, meeting.cards), nodes_secret())
    return link


def _tell(link: PeerLink, failure: Failure) -> None:
    link.fail(failure)
    deadline = time.monotonic() + _CALL_S
    while link.failure is None and time.monotonic() < deadline:
        time.sleep(_BETWEEN_S)
