"""The control channel over real sockets on loopback: nodes meet, one vanishes, strangers change nothing."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from madrun.errors import ContextError, NodesError
from madrun.node.channel.assembly import Ruling
from madrun.node.channel.link import Aborted, PeerLink, connect
from madrun.node.channel.protocol import LINE_LIMIT, encode, hello
from madrun.node.channel.server import Server
from madrun.spec.record import Failure

FAILURE = Failure(kind="script error", text="exit code 3", node=1, last_lines=("a", "b"), exit_code=3)


def meet_all(links, stage, payloads=None, final=False):
    """What each link gets, or the exception that it got."""

    def one(index):
        try:
            return links[index].meet(stage, payloads[index] if payloads else None, final)
        except (Aborted, NodesError) as error:
            return error

    with ThreadPoolExecutor(len(links)) as pool:
        return list(pool.map(one, range(len(links))))


def stranger(port, *texts, wait=False):
    """Sends bytes as somebody who is no node; returns what came back where that is asked for."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        try:
            for text in texts:
                connection.sendall(text)
            return connection.recv(100) if wait else b""
        except OSError:
            return b""


def test_three_nodes_meet_and_node_0_gets_every_payload(channel):
    join = channel(3, {"begin": lambda payloads: Ruling(data=payloads[0])})
    links = [join(rank) for rank in (0, 1, 2)]
    answers = meet_all(links, "0/begin", ["run", {"a": (1, 2)}, None])
    assert [data for data, _ in answers] == ["run", "run", "run"]
    assert answers[0][1] == {"0": "run", "1": {"a": [1, 2]}, "2": None}
    assert answers[1][1] == {}


def test_a_node_is_told_who_is_missing(channel, port):
    join = channel(2)
    news = threading.Event()
    seen = []

    def waiting(joined, missing):
        seen.append((joined, missing))
        news.set()

    link = PeerLink(connect("127.0.0.1", port, 60, lambda *_: None), waiting, lambda: None)
    link.greet(hello(0, 2, "alpha"))
    assert news.wait(60)
    assert seen[0] == ("0 (alpha)", "1")
    join(1)
    link.close()


def test_a_failure_reaches_every_node_as_it_was(channel):
    join = channel(3)
    links = [join(rank) for rank in range(3)]
    meet_all(links, "0/ready")
    links[1].fail(FAILURE)
    answers = meet_all(links, "0/never")
    assert [answer.failure for answer in answers] == [FAILURE] * 3
    finals = meet_all(links, "0/finished", ["a", "b", "c"], final=True)
    assert finals[0][1]["failure"]["text"] == "exit code 3"


def test_a_node_that_vanishes_is_named_on_every_other_and_nobody_waits_for_its_silence(channel, port):
    join = channel(3)
    links = [join(0), join(1)]
    gone = socket.create_connection(("127.0.0.1", port), timeout=60)
    gone.sendall(encode(hello(2, 3, "gamma")))
    gone.recv(4096)
    gone.close()
    answers = meet_all(links, "0/ready")
    for answer in answers:
        assert answer.failure.kind == "node lost"
        assert "node 2 (gamma) was lost: its connection" in answer.failure.text


def test_nodes_that_are_left_still_come_to_the_end(channel, port):
    join = channel(3)
    links = [join(0), join(1)]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as gone:
        gone.sendall(encode(hello(2, 3, "gamma")))
        gone.recv(4096)
    answers = meet_all(links, "0/finished", ["a", "b"], final=True)
    assert set(answers[0][1]) == {"0", "1", "failure"}


def test_the_end_of_node_0_is_a_lost_node_for_the_others(port):
    server = Server("127.0.0.1", port, 2, {})
    link = PeerLink(connect("127.0.0.1", port, 60, lambda *_: None), lambda *_: None, lambda: None)
    link.greet(hello(1, 2, "beta"))
    threading.Timer(0.2, server.close).start()
    with pytest.raises(Aborted, match="node 0 was lost"):
        link.meet("0/ready")
    link.close()
    server.close()


def test_a_node_that_is_refused_hears_why_and_so_does_the_other(channel):
    join = channel(2)
    first = join(0)
    with pytest.raises(NodesError, match="node 0 refused this node: NNODES differs: 3 on host1"):
        join(1, expected=3)
    (answer,) = meet_all([first], "join/jobs")
    assert "NNODES differs: 3 on host1" in answer.failure.text


def test_a_duplicate_rank_is_refused_on_both_nodes(channel):
    join = channel(2)
    first = join(0)
    with pytest.raises(NodesError, match="NODE_RANK 0 is given twice: on host0 and on host0; two runs at one place"):
        join(0)
    (answer,) = meet_all([first], "join/jobs")
    assert "NODE_RANK 0 is given twice" in answer.failure.text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(range(256)) * 8 + b"\n",
        b"[" * 200_000 + b"\n",
        b'{"type": "reach", "stage": "0/ready"}\n',
        b'{"type": "fail"}\n',
        encode({"type": "hello"}),
        encode(hello(1, 2, "beta") | {"protocol": 99}),
    ],
    ids=["scan", "http", "binary", "deep", "reach", "fail", "bare hello", "other protocol"],
)
def test_a_stranger_neither_joins_nor_ends_anything(channel, port, text):
    join = channel(2)
    first = join(0)
    stranger(port, text)
    time.sleep(0.05)
    answers = meet_all([first, join(1)], "0/ready")
    assert [isinstance(answer, tuple) for answer in answers] == [True, True]


def test_a_line_beyond_all_limits_is_dropped(channel, port):
    join = channel(2)
    first = join(0)
    assert stranger(port, b"x" * (LINE_LIMIT + 4096), b"x" * LINE_LIMIT, wait=True) == b""
    answers = meet_all([first, join(1)], "0/ready")
    assert [isinstance(answer, tuple) for answer in answers] == [True, True]


def test_a_slow_stranger_holds_nobody_up(channel, port):
    join = channel(2)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
        slow.sendall(b'{"type": "hel')
        answers = meet_all([join(0), join(1)], "0/ready")  # it is waited for the slow one's greeting for much longer
    assert [isinstance(answer, tuple) for answer in answers] == [True, True]


@pytest.mark.parametrize(
    "text",
    [b"nonsense\n", b'{"type": "reach"}\n', b'{"type": "fail", "failure": {}}\n', b'{"type": "fail", "failure": 3}\n'],
)
def test_a_member_that_sends_nonsense_is_lost_at_once(channel, port, text):
    join = channel(2)
    first = join(0)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as member:
        member.sendall(encode(hello(1, 2, "beta")))
        member.sendall(text)
        (answer,) = meet_all([first], "0/ready")
    assert isinstance(answer, Aborted)
    assert "node 1 (beta) was lost: it sent what is no message" in answer.failure.text


def test_a_port_in_use_is_an_error_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ContextError, match=rf"CONTROL_PORT: node 0 cannot listen on 127.0.0.1 port {port} \("):
            Server("127.0.0.1", port, 2, {})


def test_a_node_that_stays_leaves_once_node_0_has_left(channel):
    join = channel(2)
    master, other = join(0), join(1)
    staying = threading.Thread(target=other.stay, args=(120,))
    staying.start()
    master.stay(120)  # node 0 waits for nobody, else this test would
    staying.join(0.1)
    assert staying.is_alive()
    master.close()
    join.server.close()
    staying.join(60)
    assert not staying.is_alive()


def test_a_node_stays_for_a_bounded_time(channel):
    join = channel(2)
    join(0)
    started = time.monotonic()
    join(1).stay(0.2)
    assert time.monotonic() - started >= 0.2  # and node 0 never leaves
