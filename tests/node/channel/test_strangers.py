"""The control port against those who are no nodes, and against nodes that freeze: nobody waits, nothing grows."""

import asyncio
import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madrun.errors import ContextError, NodesError
from madrun.node.channel import hall, link
from madrun.node.channel.assembly import Ruling
from madrun.node.channel.caller import Caller
from madrun.node.channel.link import Aborted, PeerLink, connect
from madrun.node.channel.protocol import GREETING_LIMIT, decode, encode, hello
from madrun.node.channel.server import Server, allow_files
from madrun.spec.record import Failure

pytestmark = pytest.mark.slow  # real processes or commands in most of them


def stranger(port):
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def is_ended(connection):
    """Whether the other side ends the connection, within its time limit."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def failure_of(member, seconds=60.0):
    deadline = time.monotonic() + seconds
    while member.failure is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return member.failure


def member_of(join, rank):
    """Node 0's end of the connection of a node that is being welcomed."""
    members, deadline = join.server._hall._members, time.monotonic() + 60
    while rank not in members and time.monotonic() < deadline:
        time.sleep(0.01)
    return members[rank]


def test_a_stranger_that_sends_a_byte_now_and_then_is_dropped(channel, port, monkeypatch):
    monkeypatch.setattr(hall, "GREETING_S", 0.3)
    channel(2)
    with stranger(port) as slow:
        deadline = time.monotonic() + 60
        with pytest.raises(ConnectionError):
            while time.monotonic() < deadline:
                slow.sendall(b"x")
                time.sleep(0.05)


def test_a_stranger_may_send_only_so_much(channel, port):
    channel(2)
    with stranger(port) as loud:
        assert is_ended(loud) if _sent(loud, b"x" * (GREETING_LIMIT + 1)) else True


def _sent(connection, data):
    try:
        connection.sendall(data)
    except ConnectionError:
        return False
    return True


def test_a_flood_of_silent_connections_keeps_no_node_out(channel, port, monkeypatch):
    monkeypatch.setattr(hall, "STRANGERS", 20)
    join = channel(2)
    first = join(0)
    with ExitStack() as stack:
        flood = [stack.enter_context(stranger(port)) for _ in range(100)]
        second = join(1)
        assert is_ended(flood[0])
        assert len(join.server._hall.callers) <= 22 + 2
        second._send({"type": "reach", "stage": "0/ready", "payload": "b", "final": False})
        assert first.meet("0/ready", "a")[1] == {"0": "a", "1": "b"}


def test_a_node_that_reads_nothing_is_lost_before_what_it_is_sent_piles_up(channel, port, monkeypatch):
    monkeypatch.setattr(hall, "QUEUE_LIMIT", 1 << 20)
    join = channel(2, {"much": lambda _payloads: Ruling(data="x" * (4 << 20))})
    first = join(0)
    with stranger(port) as frozen:
        frozen.sendall(encode(hello(1, 2, "beta")))
        for index in range(6):
            frozen.sendall(encode({"type": "reach", "stage": f"{index}/much", "payload": None}))
        try:
            for index in range(6):
                first.meet(f"{index}/much")
        except Aborted as aborted:
            assert "node 1 (beta) was lost: it does not read what it is sent" in aborted.failure.text
        else:
            pytest.fail("nobody was lost")


def test_a_node_that_is_not_heard_of_is_lost_on_every_other(channel, port, quick_beats):
    join = channel(2)
    first = join(0)
    with stranger(port) as frozen, frozen.makefile("rb") as lines:
        frozen.sendall(encode(hello(1, 2, "beta")))
        lines.readline()  # the welcome
        member_of(join, 1).heard_at -= hall.SILENCE_S  # and since then nothing
        failure = failure_of(first)
        *_, last = (decode(line) for line in lines)
    assert failure.text == "node 1 (beta) was lost: not heard of for 600 s"
    assert last["failure"]["text"] == failure.text  # what it reads when it wakes up


def test_a_node_0_that_is_not_heard_of_is_lost(monkeypatch):
    monkeypatch.setattr(link, "SILENCE_S", 0.4)
    ours, theirs = socket.socketpair()
    with theirs:
        member = link.PeerLink(ours, lambda *_: None, lambda: None)
        member.start()
        failure = failure_of(member)
        member.close()
    assert failure.text == "node 0 was lost: not heard of for 0.4 s"


def test_a_node_0_that_dies_while_the_others_join_is_a_lost_node(channel):
    join = channel(3)
    second = join(1)
    join.server.close()
    with pytest.raises(Aborted, match="node 0 was lost: its connection ended"):
        second.meet("join/jobs")


def test_a_defect_on_node_0_ends_the_wait_on_every_node_with_its_cause(channel):
    def judge(_payloads):
        raise RuntimeError("a judge that stumbles")

    join = channel(2, {"ready": judge})
    first, second = join(0), join(1)
    second._send({"type": "reach", "stage": "0/ready", "payload": None, "final": False})
    for member in (first, second):
        with pytest.raises(Aborted, match="(?s)a defect of madrun on node 0.*a judge that stumbles"):
            member.meet("0/ready")


def test_a_defect_that_a_stranger_finds_ends_its_connection_alone(channel, port):
    join = channel(2)
    first = join(0)

    def breaks(*_):
        raise RuntimeError("a hello that bites")

    join.server._hall._dial = breaks
    with stranger(port) as somebody:
        somebody.sendall(b'{"type": "dial"}\n')
        assert is_ended(somebody)
    assert first.failure is None
    (notice,) = join.server.notices()
    assert "a hello that bites" in notice


def test_a_node_that_finds_a_defect_in_its_greeting_hears_so_at_once(channel):
    join = channel(2)
    join(0)

    def breaks(*_):
        raise NameError("name 'hello' is not defined")

    join.server._hall._enter = breaks
    with pytest.raises(NodesError, match="a defect of madrun on node 0, .*NameError: name 'hello' is not defined"):
        join(1)


def test_an_answer_that_nobody_understands_ends_the_wait():
    ours, theirs = socket.socketpair()
    with theirs:
        member = link.PeerLink(ours, lambda *_: None, lambda: None)
        member.start()
        theirs.sendall(encode({"type": "abort", "failure": {"kind": 1, "who": []}}))
        assert "node 0 was lost: what it sent could not be understood" in failure_of(member).text
        with pytest.raises(Aborted, match="could not be understood"):
            member.meet("0/ready")
        member.close()


def test_a_long_message_under_way_is_a_sign_of_life(channel, port):
    join = channel(2)
    first = join(0)
    with stranger(port) as slow:
        slow.sendall(encode(hello(1, 2, "slow")))
        slow.recv(4096)
        member = member_of(join, 1)
        deadline = time.monotonic() + 60
        for _ in range(3):
            member.heard_at = 0.0
            slow.sendall(b" " * 1000)
            while not member.heard_at and time.monotonic() < deadline:
                time.sleep(0.01)
            assert member.heard_at
        assert first.failure is None


def test_node_0_stays_until_the_others_have_left_but_not_for_ever(channel, port):
    join = channel(3)
    first, second = join(0), join(1)
    with stranger(port) as third:
        third.sendall(encode(hello(2, 3, "slow")))
        first.close()
        threading.Timer(0.1, second.close).start()
        began = time.monotonic()
        join.server.close()
        assert time.monotonic() - began > 0.25
        join.server._thread.join(60)  # the third never leaves
        assert not join.server._thread.is_alive()
        while third.recv(4096):
            pass


def test_a_server_that_breaks_before_it_listens_is_an_error_and_no_silence(monkeypatch):
    monkeypatch.setattr(Server, "_answer_at", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Server(["127.0.0.1", "127.0.0.2"], 0, 2, {})


def test_node_0_can_be_told_not_to_wait_for_who_does_not_come_to_the_end(channel):
    join = channel(3)
    first, second, third = join(0), join(1), join(2)
    join.server.part()
    assert failure_of(first, 0.3) is None  # nobody waits at an end yet
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(member.meet, "0/finished", rank, True) for rank, member in enumerate((first, second))]
        time.sleep(0.2)
        assert not ends[0].done()
        assert join.server.awaited() == [2]
        join.server.part()
        everyone = ends[0].result(60)[1]
        ends[1].result(60)
    assert set(everyone) == {"0", "1", "failure"}
    assert "node 2 (host2) was lost: node 0 was told not to wait for it" in everyone["failure"]["text"]
    assert failure_of(third) is not None


def test_a_node_can_be_told_not_to_wait_for_node_0(channel):
    join = channel(2)
    join(0)
    second = join(1)
    threading.Timer(0.2, second.part).start()
    with pytest.raises(Aborted, match="this node was told not to wait for it"):
        second.meet("0/end", None, True)


def test_a_loop_that_breaks_ends_the_wait_too(channel, quick_beats):
    join = channel(2)
    first = join(0)

    def breaks(_now):
        raise RuntimeError("a clock that stops")

    join.server._hall._miss = breaks
    assert "a clock that stops" in failure_of(first).text


def test_a_status_without_end_is_no_message(channel):
    join = channel(2)
    first, second = join(0), join(1)
    second._send({"type": "beat", "status": {f"entry {number}": 1 for number in range(1000)}})
    assert "it sent what is no message (a status without end)" in failure_of(first).text


def test_the_last_words_reach_a_node_before_the_server_is_gone(channel, monkeypatch):
    join = channel(2)
    monkeypatch.setattr(hall, "LEAVE_S", 60.0)
    first, second = join(0), join(1)
    text = "the cause" * 100_000
    first.fail(Failure(kind="script error", text=text, node=0))
    deadline = time.monotonic() + 60
    while first.failure is None and time.monotonic() < deadline:
        time.sleep(0.005)
    first.close()
    closing = threading.Thread(target=join.server.close)
    closing.start()
    assert failure_of(second).text == text
    second.close()
    closing.join(60)
    assert not closing.is_alive()


def test_more_nodes_than_files_can_be_open_is_an_error_that_names_the_limit(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 4096))
    raised = []
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: raised.append(limits))
    allow_files(1000)
    allow_files(3000)
    assert raised == [(3000, 4096)]
    with pytest.raises(ContextError, match=r"node 0 needs 5000 open files .* allows 4096 \(ulimit -Hn\)"):
        allow_files(5000)


def test_nodes_meet_over_ipv6_too():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("needs IPv6 on the loopback interface")
    server = Server("[::1]", port, 1, {})
    member = PeerLink(connect("[::1]", port, 60, lambda *_: None), lambda *_: None, lambda: None)
    member.greet(hello(0, 1, "alpha"))
    assert member.meet("0/ready", "a")[1] == {"0": "a"}
    member.close()
    server.close()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
messages = st.builds(
    lambda kind, more: encode(more | {"type": kind}),
    st.sampled_from(["hello", "answer", "dial", "beat", "reach", "fail", "ping", "bye", "refuse", "x"]),
    st.dictionaries(
        st.sampled_from(["node_rank", "protocol", "nonce", "purpose", "number", "proof", "hostname", "stage", "run"]),
        json_values,
        max_size=4,
    ),
)


@pytest.mark.parametrize("secret", [b"", b"correct horse battery staple"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(messages | st.binary(max_size=80), max_size=4))
def test_nothing_that_strangers_send_harms_or_enters(secret, lines):
    """The state machine below the sockets: any lines of any caller leave the members as they were."""
    party = hall.PartyHall(2, {}, {}, secret)
    for line in lines:
        visitor = caller_of(party)
        visitor.data_received(line)
        visitor.connection_lost(None)
    assert party.assembly.members == {}
    assert party.assembly.failure is None or party.assembly.failure.kind == "join refused"
    assert not party.callers
    assert not [notice for notice in party.notices.waiting if "defect" in notice]


class NoTransport(asyncio.Transport):
    """Where what is sent goes nowhere."""

    def write(self, data):
        decode(data)

    def close(self):
        return

    abort = close


def caller_of(party):
    visitor = Caller(party)
    visitor.connection_made(NoTransport({"peername": ("192.0.2.1", 4)}))
    return visitor


def test_a_node_of_a_run_that_finds_a_visit_is_hung_up_on_and_no_more(port):
    server = Server("127.0.0.1", port, 2, {})
    first = PeerLink(connect("127.0.0.1", port, 60, lambda *_: None), lambda *_: None, lambda: None)
    try:
        first.greet(hello(0, 2, "alpha", "doctor: one"))
        with stranger(port) as other:
            other.sendall(encode(hello(1, 2, "beta", "one")))
            assert other.recv(4096) == b""
        assert first.failure is None
        assert "127.0.0.1 came with a run" in server.notices()[0]
    finally:
        first.close()
        server.close()
