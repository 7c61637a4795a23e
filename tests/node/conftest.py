"""The control channel over real sockets on loopback, as several tests begin with it."""

import pytest
from own_ports import free_port

from madrun.node.channel import greeting, hall, link
from madrun.node.channel.link import PeerLink, connect
from madrun.node.channel.protocol import hello
from madrun.node.channel.server import Server

LONG_S = 600.0


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def master_port():
    """A port of its own for MASTER_PORT, on which node 0 listens while nodes join; tests run several at a time."""
    return free_port()


@pytest.fixture
def channel(port, monkeypatch):
    """Starts node 0's end for some nodes; gives a function that joins with a rank.

    Nothing ends because it was silent for long, unless the test makes that time short: a busy machine is slow.
    """
    opened = []
    monkeypatch.setattr(hall, "LEAVE_S", 0.3)
    for module, name in ((hall, "SILENCE_S"), (link, "SILENCE_S"), (hall, "GREETING_S"), (greeting, "GREETING_S")):
        monkeypatch.setattr(module, name, LONG_S)

    def start(nnodes, judges=None, doors=None, secret=b""):
        server = Server("127.0.0.1", port, nnodes, judges or {}, doors, secret=secret)
        opened.append(server)

        def join(rank, expected=nnodes, secret=secret):
            connection = connect("127.0.0.1", port, 60, lambda *_: None)
            member = PeerLink(connection, lambda *_: None, lambda: None, server.board if rank == 0 else None)
            opened.insert(0, member)
            member.greet(hello(rank, expected, f"host{rank}"), secret)
            return member

        join.server = server
        return join

    try:
        yield start
    finally:
        for thing in opened:
            thing.close()


@pytest.fixture
def quick_beats(monkeypatch):
    """Ten beats a second on both sides, so that nobody has to wait for one."""
    for module in (hall, link):
        monkeypatch.setattr(module, "BEAT_S", 0.1)
    monkeypatch.setattr(hall, "_TICK_S", 0.025)
