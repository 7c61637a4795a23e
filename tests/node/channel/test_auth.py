"""MADRUN_SECRET: both sides prove that they know it, and nothing can be changed, repeated or sent back after that."""

import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import ContextError
from madrun.node.channel.auth import NODE, NODE_0, Seals, dial_proof, digest, nonce, proof, same, session
from madrun.node.channel.link import PeerLink, connect
from madrun.node.channel.protocol import NotOurs, decode, encode, hello
from madrun.probe import environment
from madrun.probe.environment import nodes_secret

SECRET = b"correct horse battery staple"


def test_no_secret_is_given_unless_the_environment_names_one():
    assert nodes_secret({}) == b""
    assert nodes_secret({"MADRUN_SECRET": "x y"}) == b"x y"


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_secret_is_an_error_because_it_protects_nothing(value):
    with pytest.raises(ContextError, match="MADRUN_SECRET: found an empty value"):
        nodes_secret({"MADRUN_SECRET": value})


def test_the_secret_is_never_passed_on_to_a_script():
    env = {"MADRUN_SECRET": "x", "PATH": "/bin"}
    assert environment.forwarded_secrets(env) == {}
    assert "MADRUN_SECRET" not in environment.process_env(env)


def test_a_proof_counts_for_one_side_one_hello_one_challenge_and_one_secret():
    first = proof(SECRET, NODE, b"hello", "c")
    others = [
        proof(b"other", NODE, b"hello", "c"),
        proof(SECRET, NODE_0, b"hello", "c"),
        proof(SECRET, NODE, b"hell", "oc"),
        proof(SECRET, NODE, b"hello", "d"),
    ]
    assert len({first, *others}) == 5
    assert same(first, first)
    assert not same(None, first)
    assert not same("\udce9", first)
    assert SECRET.hex() not in first


@given(st.lists(st.binary(max_size=3), max_size=3), st.lists(st.binary(max_size=3), max_size=3))
def test_different_parts_have_different_digests(one, other):
    assert (digest(b"k", *one) == digest(b"k", *other)) == (one == other)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5))
def test_sealed_lines_come_back_in_their_order_alone(lines):
    ours, theirs = Seals(b"key"), Seals(b"key")
    sealed = [ours.close(line) for line in lines]
    assert [bytes(theirs.open(line)) for line in sealed] == lines
    with pytest.raises(NotOurs):
        theirs.open(sealed[0])  # a second time


@given(st.binary(max_size=80), st.binary(max_size=30), st.integers(0, 200))
def test_bytes_that_were_changed_or_made_up_are_not_ours(noise, line, place):
    with pytest.raises(NotOurs):
        Seals(b"key").open(noise)
    sealed = bytearray(Seals(b"key").close(line))
    sealed[place % len(sealed)] ^= 1
    with pytest.raises(NotOurs):
        Seals(b"key").open(sealed)


def test_the_two_directions_and_the_connections_of_one_secret_have_different_keys():
    one, other = session(SECRET, b"hello", "1"), session(SECRET, b"hello", "2")
    keys = [one.up, one.down, one.dial, other.up, other.down, other.dial]
    assert len(set(keys)) == 6
    with pytest.raises(NotOurs):
        Seals(one.down).open(Seals(one.up).close(b"sent back\n"))


def test_nodes_with_one_secret_meet(channel):
    join = channel(2, secret=SECRET)
    links = [join(0), join(1)]
    links[1]._send({"type": "reach", "stage": "0/ready", "payload": "b", "final": False})
    assert links[0].meet("0/ready", "a")[1] == {"0": "a", "1": "b"}


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (SECRET, b"", "node 0 was started with one, this node was not"),
        (b"", SECRET, "this node was started with one, node 0 was not"),
        (SECRET, b"zebra crossing", "it differs from the one that node 0 was started with"),
    ],
)
def test_a_node_with_another_secret_or_none_hears_it_and_disturbs_nobody(channel, ours, theirs, words):
    join = channel(2, secret=ours)
    first = join(0)
    with pytest.raises(ContextError, match=f"MADRUN_SECRET: {words}; export the same MADRUN_SECRET") as caught:
        join(1, secret=theirs)
    assert caught.value.exit_code == 4
    assert first.failure is None
    second = join(1)
    second._send({"type": "reach", "stage": "0/ready", "payload": "b", "final": False})
    assert first.meet("0/ready", "a")[1] == {"0": "a", "1": "b"}
    (notice,) = join.server.notices()
    assert notice.startswith("127.0.0.1 tried to join with")
    for secret in (ours, theirs):
        assert not secret or secret.decode() not in notice + str(caught.value)


def test_notices_of_many_strangers_are_few(channel):
    join = channel(2, secret=SECRET)
    for _ in range(10):
        with pytest.raises(ContextError):
            join(1, secret=b"guess")
    assert len(join.server.notices()) == 1


class Recorded:
    """Node 1 over a connection that keeps what was sent on it."""

    def __init__(self, connection):
        self._connection, self.sent = connection, []

    def sendall(self, data):
        self.sent.append(data)
        self._connection.sendall(data)

    def __getattr__(self, name):
        return getattr(self._connection, name)


def test_what_a_node_sent_can_be_sent_by_nobody_else(channel, port):
    join = channel(3, secret=SECRET)
    first = join(0)
    recorded = Recorded(connect("127.0.0.1", port, 60, lambda *_: None))
    node = PeerLink(recorded, lambda *_: None, lambda: None)
    node.greet(hello(1, 3, "beta"), SECRET)
    node.tell({"phase": "image"})
    node._send({"type": "beat"})
    with socket.create_connection(("127.0.0.1", port), timeout=60) as again:
        again.sendall(b"".join(recorded.sent))
        answer = again.recv(10_000)
    assert decode(answer.splitlines()[0])["type"] == "challenge"
    assert b"welcome" not in answer
    join(2)
    assert first.failure is None
    node.close()


def test_a_message_put_into_the_connection_of_a_member_ends_it_as_nonsense(channel, port):
    join = channel(2, secret=SECRET)
    first = join(0)
    connection = connect("127.0.0.1", port, 60, lambda *_: None)
    node = PeerLink(connection, lambda *_: None, lambda: None)
    node.greet(hello(1, 2, "beta"), SECRET)
    connection.sendall(encode({"type": "bye"}))  # without a seal, or with one of another place
    deadline = time.monotonic() + 60
    while first.failure is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "it sent what is no message (its seal is wrong)" in first.failure.text
    node.close()


def test_somebody_in_node_0s_place_that_does_not_know_the_secret_is_found_out():
    with socket.create_server(("127.0.0.1", 0)) as false:
        link = PeerLink(socket.create_connection(false.getsockname()), lambda *_: None, lambda: None)
        other = false.accept()[0]
        other.sendall(encode({"type": "challenge", "nonce": nonce()}))
        other.sendall(encode({"type": "welcome", "proof": "0" * 64, "at": "3"}))
        with other, pytest.raises(ContextError, match="what answers as node 0 did not prove that it knows it"):
            link.greet(hello(1, 2, "beta"), SECRET)


def test_a_proof_for_a_further_connection_counts_for_one_purpose_and_number():
    keys = session(SECRET, b"hello", "1")
    assert len({dial_proof(keys, "files", 0), dial_proof(keys, "files", 1), dial_proof(keys, "file", 0)}) == 3
