"""Further connections to node 0: for members alone, each proof once, with a defect of a door that is heard of."""

import asyncio
import contextlib
import socket
import time
from types import SimpleNamespace

import pytest

from madrun.node.channel import greeting
from madrun.node.channel.protocol import VERSION, encode

SECRET = b"correct horse battery staple"


async def upper(rank, reader, writer):
    """Answers each line in capitals, with the rank of the node."""
    while line := await reader.readline():
        writer.write(b"%d %s" % (rank, line.upper()))
        await writer.drain()


async def broken(rank, reader, writer):
    raise RuntimeError("a door that jams")


DOORS = {"upper": upper, "broken": broken}


@pytest.mark.parametrize("secret", [b"", SECRET])
def test_a_member_gets_a_connection_of_its_own_for_a_purpose(channel, secret):
    join = channel(2, doors=DOORS, secret=secret)
    first, second = join(0), join(1)
    assert first.dial("upper") is None
    for _ in range(3):
        with second.dial("upper") as connection, connection.makefile("rb") as answers:
            connection.sendall(b"abc\n" + b"x" * 100_000 + b"\n" if secret else b"abc\n")
            assert answers.readline() == b"1 ABC\n"


def test_bytes_of_any_size_go_through_a_door(channel):
    async def count(_rank, reader, writer):
        size = 0
        while chunk := await reader.read(1 << 16):
            size += len(chunk)
        writer.write(str(size).encode())
        await writer.drain()

    join = channel(2, doors={"count": count})
    join(0)
    with join(1).dial("count") as connection:
        connection.sendall(bytes(20 << 20))
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        assert connection.recv(100) == str(20 << 20).encode()


def test_a_purpose_that_nobody_knows_is_refused(channel):
    join = channel(2, doors=DOORS)
    join(0)
    with pytest.raises(OSError, match="node 0 refused a further connection"):
        join(1).dial("cellar")


def test_a_stranger_gets_no_further_connection_and_no_proof_counts_twice(channel, port):
    join = channel(2, doors=DOORS)
    join(0)
    second = join(1)
    sent = []
    original = socket.socket.sendall

    def remember(self, data):
        sent.append(bytes(data))
        return original(self, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "sendall", remember)
        second.dial("upper").close()
    again = next(line for line in sent if b'"dial"' in line)
    made_up = {"type": "dial", "protocol": VERSION, "node_rank": 1, "purpose": "upper", "number": 7, "proof": "0" * 64}
    wrong = [{"node_rank": []}, {"number": None}, {"number": [1]}, {"proof": 3}, {"purpose": 3}, {"node_rank": 5}]
    for line in (again, encode(made_up), *(encode(made_up | change) for change in wrong)):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            original(connection, line)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""
    assert second.failure is None


def test_a_door_that_jams_closes_the_connection_and_is_heard_of(channel):
    join = channel(2, doors=DOORS)
    first = join(0)
    second = join(1)
    with second.dial("broken") as connection:
        assert connection.recv(1) == b""
    deadline = time.monotonic() + 60
    while not (notices := join.server.notices()) and time.monotonic() < deadline:
        time.sleep(0.01)  # said when the connection is closed
    (notice,) = notices
    assert "a door that jams" in notice
    assert first.failure is None


def test_the_end_of_the_server_ends_the_doors(channel):
    entered = []

    async def stay(rank, _reader, _writer):
        entered.append(rank)
        await asyncio.sleep(300)

    join = channel(2, doors={"stay": stay})
    join(0)
    with join(1).dial("stay") as connection:
        join.server.close()
        assert connection.recv(1) == b""


def test_what_a_node_tells_stands_on_node_0s_board(channel, quick_beats):
    join = channel(2)
    first, second = join(0), join(1)
    second.tell({"phase": "image"})
    second.tell({"step": 3})
    first.tell({"phase": "running"})
    deadline = time.monotonic() + 60
    while len(first.board().get(1, ())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert first.board() == {0: {"phase": "running"}, 1: {"phase": "image", "step": 3}}
    assert second.board() == {}


def test_the_clocks_are_compared_when_a_node_joins(channel, monkeypatch):
    join = channel(3)
    assert join(0).offset_s == 0.0
    assert abs(join(1).offset_s) < 60  # half of what an answer takes, which a busy machine may make long
    ahead = SimpleNamespace(monotonic=time.monotonic, time=lambda: time.time() + 3600)
    monkeypatch.setattr(greeting, "time", ahead)
    assert abs(join(2).offset_s - 3600.0) < 60
