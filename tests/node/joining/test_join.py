"""Agents become one over loopback: equal jobs join, different ones hear the difference, nobody waits for ever."""

import contextlib
import errno
import os
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from madrun.errors import ContextError, NodesError
from madrun.node.channel.link import Aborted, SoloLink, why
from madrun.node.joining import room
from madrun.node.joining.join import join
from madrun.node.task import Interrupt, Stopped
from madrun.spec.facts import Accelerator, HostFacts

pytestmark = pytest.mark.slow  # real processes or commands in most of them

FACTS = HostFacts(
    hostname="alpha",
    host_id="boot-net",
    kernel="6.1",
    cpu="cpu",
    cpus=2,
    memory=8 << 30,
    uid=1000,
    gid=1001,
    python="3.11",
    accelerator=Accelerator(),
)


class Quiet:
    def __init__(self):
        self.lines, self.phases = [], []
        self.line, self.phase = self.lines.append, self.phases.append


@pytest.fixture
def plans(make_test_plan, make_job, make_node, master_port):
    """Plans of two nodes on one free port; changes belong to node 1's job."""

    def make(nnodes=2, **changes):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        jobs = [make_job(nnodes=nnodes), make_job(**({"nnodes": nnodes} | changes))]
        ports = {"control_port": port, "master_port": master_port}
        nodes = [make_node(node_rank=rank, hostname=f"host{rank}", **ports) for rank in (0, 1)]
        return [make_test_plan(job, node) for job, node in zip(jobs, nodes, strict=True)]

    return make


def join_all(plans, timeout_s=10.0):
    def one(plan):
        try:
            party = join([plan], FACTS, timeout_s, Interrupt(), Quiet())
        except (NodesError, Aborted, ContextError) as error:
            return error
        return party

    with ThreadPoolExecutor(len(plans)) as pool:
        return list(pool.map(one, plans))


def close(parties):
    for party in reversed(parties):
        if not isinstance(party, Exception):
            party.close()


def test_two_nodes_with_equal_jobs_join_and_meet(plans):
    parties = join_all(plans())
    try:
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda party: party.link.meet("0/ready", "x"), parties))
        assert answers[0][1] == {"0": "x", "1": "x"}
        assert parties[0].server is not None
        assert parties[1].server is None
    finally:
        close(parties)


def test_one_node_needs_no_port(make_test_plan):
    party = join([make_test_plan()], FACTS, 1.0, Interrupt(), Quiet())
    assert isinstance(party.link, SoloLink)
    party.close()


def test_different_jobs_end_on_every_node_with_the_difference(plans):
    answers = join_all(plans(args="--lr 0"))
    for answer in answers:
        assert isinstance(answer, Aborted)
        assert "args differs" in answer.failure.text
        assert "--lr 0 on node 1 (host1)" in answer.failure.text


@pytest.mark.e2e
def test_different_nnodes_end_on_every_node_with_both_numbers(plans):
    made = plans()
    wrong = replace(made[1], job=replace(made[1].job, nnodes=3))
    answers = join_all([made[0], wrong])
    assert [type(answer) for answer in answers] == [Aborted, NodesError]
    for answer in answers:
        assert "NNODES differs: 3 on host1 (NODE_RANK 1), 2 on node 0" in str(answer)


def test_a_node_that_does_not_come_is_named_after_the_time_limit(plans):
    reporter = Quiet()
    with pytest.raises(Aborted, match=r"\(--join-timeout\) node 0 \(host0\) had joined; node 1 of 2 had not joined at"):
        join(plans()[:1], FACTS, 0.5, Interrupt(), reporter)
    assert "joined: node 0 (host0); waiting for: node 1" in reporter.lines
    assert reporter.phases == ["join"]


def test_long_lists_of_missing_ranks_stay_readable(plans):
    reporter = Quiet()
    with pytest.raises(Aborted, match="node 1-7 of 8 had not joined"):
        join(plans(nnodes=8)[:1], FACTS, 0.3, Interrupt(), reporter)


def test_node_0_that_does_not_come_is_named_after_the_time_limit(plans):
    with pytest.raises(NodesError, match="node 0 did not answer at 127.0.0.1"):
        join(plans()[1:], FACTS, 0.5, Interrupt(), Quiet())


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_ends_the_wait(plans, rank):
    interrupt = Interrupt()
    interrupt.set("interrupted by SIGINT")
    with pytest.raises(Stopped, match=f"interrupted by SIGINT on node {rank}"):
        join(plans()[rank : rank + 1], FACTS, 30.0, interrupt, Quiet())


def answers_of(plans, limits, interrupts=None, reporters=None):
    """What each node's join comes to; with a limit of its own for each."""

    def one(index):
        interrupt = interrupts[index] if interrupts else Interrupt()
        try:
            return join([plans[index]], FACTS, limits[index], interrupt, reporters[index] if reporters else Quiet())
        except (NodesError, Aborted, ContextError, Stopped) as error:
            return error

    with ThreadPoolExecutor(len(plans)) as pool:
        return list(pool.map(one, range(len(plans))))


def test_the_time_limit_of_node_0_ends_the_wait_on_every_node_with_the_same_list(plans):
    for limit in (0.7, 5.0, 40.0):  # more, where this machine is too busy for node 1 to join within it
        answers = answers_of(plans(nnodes=3), [limit, 600.0])
        if "1 (host1) had joined" in str(answers[0]):
            break
    assert [type(answer) for answer in answers] == [Aborted, Aborted]
    assert answers[0].failure == answers[1].failure
    text = answers[1].failure.text
    assert "(--join-timeout) node 0 (host0), 1 (host1) had joined; node 2 of 3 had not joined at 127.0.0.1" in text
    assert answers[1].failure.kind == "join timeout"


def test_a_signal_on_a_waiting_node_is_what_the_others_hear_of(plans):
    for after in (0.7, 5.0, 40.0):  # more, where this machine is too busy for node 1 to wait by then
        interrupts = [Interrupt(), Interrupt()]
        threading.Timer(after, interrupts[1].set, ["interrupted by SIGINT"]).start()
        threading.Timer(after + 5, interrupts[0].set, ["nothing was heard"]).start()
        answers = answers_of(plans(nnodes=3), [120.0, 120.0], interrupts)
        if isinstance(answers[0], Aborted):
            break
    assert isinstance(answers[1], Stopped)
    assert answers[0].failure.kind == "interrupted"
    assert answers[0].failure.text == "interrupted by SIGINT on node 1"


def test_a_node_says_for_how_long_it_has_waited_and_for_whom(plans, monkeypatch):
    monkeypatch.setattr(room, "_NEWS_EVERY_S", 0.2)
    reporter = Quiet()
    began = time.monotonic()
    with pytest.raises(Aborted):
        join(plans()[:1], FACTS, 1.3, Interrupt(), reporter)
    took = time.monotonic() - began
    again = [line for line in reporter.lines if re.fullmatch(r"joined: node 0 \(host0\); waiting for .* for: .*", line)]
    assert 1 <= len(again) <= took / 0.2 + 1


def test_news_of_many_nodes_come_as_few_lines(plans):
    reporter = Quiet()
    waiting = room.WaitingRoom(plans()[0], 30.0, Interrupt(), reporter, None)
    for rank in range(1000):
        waiting.waiting(f"0-{rank}", f"{rank + 1}-1000")
        waiting.pause()
    assert len(reporter.lines) <= 2


def test_a_secret_in_the_environment_is_asked_of_every_node(plans, monkeypatch):
    made = plans()
    monkeypatch.setenv("MADRUN_SECRET", "correct horse battery staple")
    parties = join_all(made)
    assert not any(isinstance(party, Exception) for party in parties), parties
    close(parties)


def test_an_empty_secret_is_an_error_before_anything_is_tried(plans, monkeypatch):
    monkeypatch.setenv("MADRUN_SECRET", "")
    with pytest.raises(ContextError, match="MADRUN_SECRET: found an empty value"):
        join(plans()[:1], FACTS, 5.0, Interrupt(), Quiet())


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b'{"type":"waiting"}\n'])
def test_another_program_at_the_port_is_told_from_node_0_at_once(plans, says):
    made = plans()[1]
    with socket.create_server(("127.0.0.1", made.node.control_port)) as other:

        def answer():
            connection = other.accept()[0]
            connection.sendall(says)
            connection.recv(1000)
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(
            NodesError, match=r"what answers at 127.0.0.1 port \d+ is no node 0 of a madrun with this protocol"
        ):
            join([made], FACTS, 600.0, Interrupt(), Quiet())


def test_a_port_that_takes_connections_and_ends_them_is_tried_until_the_time_limit(plans):
    made = plans()[1]
    reporter = Quiet()
    with socket.create_server(("127.0.0.1", made.node.control_port)) as other:

        def hang_up():
            with contextlib.suppress(OSError):
                while True:
                    other.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(NodesError, match="it takes the connection and ends it|reset by peer"):
            join([made], FACTS, 0.2, Interrupt(), reporter)
        other.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ECONNREFUSED, "nobody listens there: node 0 is not started"),
        (errno.ETIMEDOUT, "a firewall, or MASTER_ADDR is not the address"),
        (errno.EHOSTUNREACH, "no host answers at that address"),
        (errno.ENETUNREACH, "this host has no route to that network"),
    ],
)
def test_a_node_that_does_not_reach_node_0_says_what_that_mostly_means(number, words):
    assert words in why(OSError(number, os.strerror(number)))
    assert words in why(TimeoutError("timed out")) or number != errno.ETIMEDOUT
