"""Nodes call each other on real sockets; only who knows the nonce counts as reached."""

import socket
import time
from contextlib import suppress

import pytest

from madrun.node.joining.reach import Doors, call_all


@pytest.fixture
def doors():
    with Doors([("lo", "127.0.0.1")]) as opened:
        yield opened


def test_a_node_that_listens_is_reached_in_no_time(doors):
    started = time.monotonic()
    assert call_all([(1, doors.at, doors.nonce)]) == []
    assert time.monotonic() - started < 0.5


def test_every_node_of_many_is_reached_at_once():
    opened = [Doors([("lo", "127.0.0.1")]).__enter__() for _ in range(20)]
    try:
        assert call_all([(rank, one.at, one.nonce) for rank, one in enumerate(opened)]) == []
    finally:
        for one in opened:
            one.__exit__()


def test_a_closed_port_is_named_as_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ((rank, reason),) = call_all([(3, [("127.0.0.1", port)], "n")])
    assert rank == 3
    assert reason.startswith("refused")


def test_another_program_at_the_address_is_not_the_node(doors):
    ((_, reason),) = call_all([(1, doors.at, "another nonce")])
    assert "something else answered there" in reason


def test_who_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr("madrun.node.joining.reach.ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ((_, reason),) = call_all([(1, [silent.getsockname()], "n")])
    assert reason.startswith("connected, but no answer within")


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 4096, b"madrun-reach " + b"0" * 64 + b"\n"])
def test_strangers_do_not_keep_a_door_from_answering(doors, said):
    with socket.create_connection(doors.at[0], timeout=2) as stranger:
        stranger.sendall(said)
        assert call_all([(1, doors.at, doors.nonce)]) == []
        if said:
            with suppress(ConnectionResetError):
                assert stranger.recv(100) == b""


def test_an_address_that_this_host_lacks_opens_no_door():
    with Doors([("x", "203.0.113.9")]) as opened:
        assert opened.at == []


def test_nothing_listens_afterwards():
    with Doors([("lo", "127.0.0.1")]) as opened:
        place = opened.at[0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, timeout=2)
