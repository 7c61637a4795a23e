"""Agents become one over loopback: equal jobs join, different ones hear the difference, nobody waits for ever."""

import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from madrun.errors import ContextError, NodesError
from madrun.node.join import join
from madrun.node.link import Aborted, SoloLink
from madrun.node.task import Interrupt, Stopped
from madrun.spec.facts import Accelerator, HostFacts

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
def plans(make_test_plan, make_job, make_node):
    """Plans of two nodes on one free port; changes belong to node 1's job."""

    def make(nnodes=2, **changes):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        jobs = [make_job(nnodes=nnodes), make_job(**({"nnodes": nnodes} | changes))]
        nodes = [make_node(node_rank=rank, hostname=f"host{rank}", control_port=port) for rank in (0, 1)]
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


def test_different_nnodes_end_on_every_node_with_both_numbers(plans):
    made = plans()
    wrong = replace(made[1], job=replace(made[1].job, nnodes=3))
    answers = join_all([made[0], wrong])
    assert [type(answer) for answer in answers] == [Aborted, NodesError]
    for answer in answers:
        assert "NNODES differs: 3 on host1 (NODE_RANK 1), 2 on node 0" in str(answer)


def test_a_node_that_does_not_come_is_named_after_the_time_limit(plans):
    reporter = Quiet()
    with pytest.raises(NodesError, match=r"\(--join-timeout\) node 1 of 2 had not joined at 127.0.0.1 port"):
        join(plans()[:1], FACTS, 0.5, Interrupt(), reporter)
    assert "joined: node 0; waiting for: node 1" in reporter.lines
    assert reporter.phases == ["join"]


def test_long_lists_of_missing_ranks_stay_readable(plans):
    reporter = Quiet()
    with pytest.raises(NodesError, match="node 1-7 of 8 had not joined"):
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
