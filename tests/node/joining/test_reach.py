"""Nodes call each other on real sockets; only who knows the nonce counts as reached."""

import errno
import socket
import time
from contextlib import ExitStack, suppress

import pytest
from own_ports import free_port

from madrun.node.joining.reach import Doors, call_all


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr("madrun.node.joining.reach.CONNECT_S", 120.0)
    monkeypatch.setattr("madrun.node.joining.reach.ANSWER_S", 120.0)


@pytest.fixture
def doors():
    with Doors([("lo", "127.0.0.1")]) as opened:
        yield opened


def test_a_node_that_listens_is_reached_and_its_time_is_not_waited_for(doors):
    started = time.monotonic()
    assert call_all([(1, doors.at, doors.nonce)]) == []
    assert time.monotonic() - started < 60


def test_every_node_of_many_is_reached_at_once():
    opened = [Doors([("lo", "127.0.0.1")]).__enter__() for _ in range(20)]
    try:
        assert call_all([(rank, one.at, one.nonce) for rank, one in enumerate(opened)]) == []
    finally:
        for one in opened:
            one.__exit__()


def test_a_closed_port_is_named_as_refused():
    port = free_port()
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
    with socket.create_connection(doors.at[0], timeout=60) as stranger:
        stranger.sendall(said)
        assert call_all([(1, doors.at, doors.nonce)]) == []
        if said:
            with suppress(ConnectionResetError):
                assert stranger.recv(100) == b""


def test_an_address_that_this_host_lacks_opens_no_door():
    with Doors([("x", "203.0.113.9")]) as opened:
        assert opened.at == []


def test_a_port_with_a_name_is_called_too_and_is_free_at_once_for_whoever_is_to_have_it():
    port = free_port()
    with Doors([("lo", "127.0.0.1")], [("127.0.0.1", port, "MASTER_PORT")]) as opened:
        assert opened.at[1] == ("127.0.0.1", port, "MASTER_PORT")
        assert call_all([(0, opened.at, opened.nonce)]) == []
        at = list(opened.at)
    opened._thread.join(60)  # it is not waited for so long elsewhere
    with socket.socket() as job:  # without SO_REUSEADDR: the kernel must have no connection of ours left there
        job.bind(("127.0.0.1", port))
    ((_, reason),) = call_all([(0, at[1:], opened.nonce)])
    assert reason.startswith(f"MASTER_PORT {port} of 127.0.0.1: refused")


def test_nothing_listens_afterwards():
    with Doors([("lo", "127.0.0.1")]) as opened:
        place = opened.at[0]
    opened._thread.join(60)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, timeout=60)


def test_of_many_silent_strangers_the_first_has_to_go_and_nodes_are_answered():
    with Doors([("lo", "127.0.0.1")], most=12) as opened, ExitStack() as stack:
        flood = [stack.enter_context(socket.create_connection(opened.at[0], timeout=60)) for _ in range(40)]
        assert call_all([(1, opened.at, opened.nonce)]) == []
        assert flood[0].recv(1) == b""
        assert len(opened._selector.get_map()) <= 12


def test_a_door_without_a_file_to_spare_does_not_spin(monkeypatch):
    with Doors([("lo", "127.0.0.1")]) as opened:
        silent = socket.create_connection(opened.at[0], timeout=60)
        accept, tries = socket.socket.accept, []

        def full(door):
            tries.append(door)
            if len(tries) == 1:
                raise OSError(errno.EMFILE, "Too many open files")
            return accept(door)

        deadline = time.monotonic() + 60
        while len(opened._selector.get_map()) < 3 and time.monotonic() < deadline:  # the silent one has been let in
            time.sleep(0.01)
        monkeypatch.setattr(socket.socket, "accept", full)
        assert call_all([(1, opened.at, opened.nonce)]) == []
        assert silent.recv(1) == b""
        silent.close()
