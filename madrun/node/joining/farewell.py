"""A node that cannot take part says so to the others, who would wait for it until --join-timeout."""

from __future__ import annotations

import errno
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
_BETWEEN_S, _AGAIN_S = 0.02, 0.1


def farewell(meeting: Meeting, reason: str) -> None:
    """Tells the nodes that can be reached within seconds why this one does not come; never raises."""
    alone = meeting.nnodes == 1 and meeting.node_rank == 0
    if alone or (meeting.nnodes == 1 and meeting.address == "localhost"):
        return
    where = f"node {meeting.node_rank} ({meeting.hostname})"
    failure = Failure(kind="node", text=f"{where} could not begin: {reason}", node=meeting.node_rank)
    with suppress(OSError, MadrunError, NotYet):
        if meeting.node_rank == 0 and _is_here(meeting.address):
            _stay(meeting, failure)
        else:
            _call(meeting, failure)


def _call(meeting: Meeting, failure: Failure) -> None:
    link = _greeted_soon(meeting)
    try:
        _tell(link, failure)
    finally:
        link.close()


def _greeted_soon(meeting: Meeting) -> PeerLink:
    """Node 0 may be started a moment later than this node, which is quick to find out what is wrong with it."""
    until = time.monotonic() + _STAY_S
    while True:
        try:
            return _greeted(meeting, meeting.address, _Roll())
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(_AGAIN_S)


def _is_here(address: str) -> bool:
    """Whether this host has the address, or it is none: else somebody else is node 0, and this node wrongly so."""
    try:
        family, _, _, _, place = socket.getaddrinfo(address.strip("[]"), 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind(place)
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def _stay(meeting: Meeting, failure: Failure) -> None:
    """Node 0 itself: listens for a moment, at all its addresses, for the one it was given may be what is wrong."""
    from madrun.node.channel.server import Server

    everywhere, here = ("::", "::1") if ":" in meeting.address else ("0.0.0.0", "127.0.0.1")
    server: Server = Server(everywhere, meeting.port, meeting.nnodes, {}, secret=nodes_secret())
    try:
        roll = _Roll()
        link = _greeted(meeting, here, roll)
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
    connection = socket.create_connection((address.strip("[]"), meeting.port), timeout=_CALL_S)
    link = PeerLink(connection, roll.hear, lambda: None)
    link.greet(hello(meeting.node_rank, meeting.nnodes, meeting.hostname, meeting.cards), nodes_secret())
    return link


def _tell(link: PeerLink, failure: Failure) -> None:
    link.fail(failure)
    deadline = time.monotonic() + _CALL_S
    while link.failure is None and time.monotonic() < deadline:
        time.sleep(_BETWEEN_S)
