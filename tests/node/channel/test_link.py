"""A node's end of the channel before there is one, and the link of a node that is alone."""

import socket
import threading
import time

import pytest

from madrun.errors import NodesError
from madrun.node.channel.assembly import Ruling
from madrun.node.channel.link import Aborted, PeerLink, SoloLink, connect
from madrun.node.channel.protocol import encode
from madrun.node.channel.server import Server
from madrun.spec.codec import to_plain
from madrun.spec.record import Failure

FAILURE = Failure(kind="script error", text="exit code 3", node=1)


def test_a_node_that_finds_nobody_says_where_it_looked_and_what_to_check(port):
    heard = []
    with pytest.raises(NodesError, match=rf"did not answer at 127.0.0.1 port {port} for .*firewall"):
        connect("127.0.0.1", port, 0.3, lambda waited, reason: heard.append((waited, reason)))
    assert heard


def test_a_node_may_start_before_node_0(port):
    server = []
    thread = threading.Timer(0.3, lambda: server.append(Server("127.0.0.1", port, 1, {})))
    thread.start()
    with connect("127.0.0.1", port, 60, lambda *_: None) as connection:
        connection.sendall(b"a stranger\n")
        assert connection.recv(1) == b""
    thread.join()
    server[0].close()


def test_the_reason_that_node_0_gave_counts_more_than_its_end():
    ours, theirs = socket.socketpair()
    link = PeerLink(ours, lambda *_: None, lambda: None)
    link.start()
    theirs.sendall(encode({"type": "abort", "failure": to_plain(FAILURE)}))
    theirs.close()
    deadline = time.monotonic() + 60
    while link._vanished is None and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(Aborted, match="exit code 3"):
        link.meet("join/jobs")
    link.close()


def test_one_node_alone_meets_itself():
    link = SoloLink({"begin": lambda payloads: Ruling(data=payloads[0])})
    assert link.meet("0/begin", "run") == ("run", {"0": "run", "failure": None})
    link.fail(FAILURE)
    link.fail(Failure(kind="timeout", text="later", node=0))
    with pytest.raises(Aborted, match="exit code 3"):
        link.meet("0/ready")
    assert link.meet("0/finished", "o", final=True)[1]["failure"]["text"] == "exit code 3"
    link.meet("0/end", None, final=True)
    assert link.meet("1/begin", "next")[0] == "next"
    link.close()


def test_a_judge_that_refuses_one_node_alone_ends_its_run():
    link = SoloLink({"jobs": lambda _payloads: Ruling(failure=FAILURE)})
    with pytest.raises(Aborted, match="exit code 3"):
        link.meet("join/jobs")
    assert link.failure == FAILURE
