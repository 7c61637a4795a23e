"""What a node offers when it joins, and what is made of it over real links."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from madrun.errors import ContextError, MadrunError
from madrun.node.channel.link import Aborted
from madrun.node.joining import farewell as leaving
from madrun.node.joining import room
from madrun.node.joining.farewell import farewell
from madrun.node.joining.gate import gate_of, offer
from madrun.node.joining.join import join
from madrun.node.task import Interrupt
from madrun.spec.fabric import Hca, HcaPort
from madrun.spec.facts import Accelerator, Gpu, Interface, Partition
from madrun.spec.topology import Meeting

pytestmark = pytest.mark.slow  # real processes or commands in most of them


class Quiet:
    def __init__(self):
        self.lines = []
        self.line = self.lines.append

    def phase(self, name):
        pass


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A node that cannot begin waits longer for a node 0 that is being started: a busy machine is slow."""
    monkeypatch.setattr(leaving, "_CALL_S", 60.0)


@pytest.fixture
def plans(make_test_plan, make_job, make_node, port, master_port):
    def make(**changes):
        ports = {"control_port": port, "master_port": master_port}
        nodes = [make_node(node_rank=rank, hostname=f"host{rank}", **ports) for rank in (0, 1)]
        nodes[1] = replace(nodes[1], **changes)
        return [make_test_plan(make_job(nnodes=2), node) for node in nodes]

    return make


def join_all(plans, facts, timeout_s=120.0):
    def one(pair):
        plan, fact = pair
        try:
            return join([plan], fact, timeout_s, Interrupt(), Quiet())
        except (MadrunError, Aborted) as error:
            return error

    with ThreadPoolExecutor(len(plans)) as pool:
        return list(pool.map(one, zip(plans, facts, strict=True)))


def close(parties):
    for party in reversed(parties):
        party.close()


def test_an_offer_is_about_a_kilobyte_and_names_the_gpus_of_the_job(make_test_plan, make_node, make_facts):
    gpus = tuple(Gpu(index=i, model="H200", arch="sm_90", uuid=f"GPU-{i:032}", memory=140 << 30) for i in range(8))
    facts = make_facts(accelerator=Accelerator(vendor="nvidia", gpus=gpus, driver="570.1", stack="12.8"))
    found = offer(make_test_plan(node=make_node(gpus=tuple(range(4)))), facts)
    assert (found["gpus"], found["arch"], found["driver"]) == ("4 x H200", "4 x sm_90", "570.1")
    assert len(json.dumps(found)) < 1200


def test_the_ports_that_carry_rdma_are_offered_in_numbers(make_test_plan, make_node, make_facts):
    ports = [HcaPort(number=1, state="ACTIVE", link_layer="InfiniBand", rate=rate) for rate in (400, 400, 100)]
    hcas = tuple(Hca(name=f"mlx5_{index}", ports=(port,)) for index, port in enumerate(ports))
    found = offer(make_test_plan(node=make_node(hcas=("mlx5_0:1", "mlx5_1:1"))), make_facts(hcas=hcas))
    assert (found["rdma"], found["transport"]) == ("2 x infiniband 400 Gb/s", "auto")
    assert offer(make_test_plan(node=make_node()), make_facts(hcas=hcas))["rdma"] == ""


def test_partitions_are_offered_by_kind(make_test_plan, make_node, make_facts):
    parts = tuple(Partition(name="1g.18gb", uuid=f"MIG-{i}") for i in range(7))
    gpu = Gpu(index=0, model="H200", uuid="GPU-0", mig=True, partitions=parts)
    facts = make_facts(accelerator=Accelerator(vendor="nvidia", gpus=(gpu,)))
    found = offer(make_test_plan(node=make_node(gpus=(0,))), facts)
    assert found["partitions"] == "7 x 1g.18gb"
    assert found["uuids"] == []  # nodes may share a GPU that is partitioned


def test_nodes_that_fit_know_each_others_addresses_and_clocks(plans, make_facts):
    parties = join_all(plans(), [make_facts(), make_facts()])
    try:
        gate = parties[0].gate
        assert gate.hosts == (("host0", "127.0.0.1"), ("host1", "127.0.0.1"))
        assert (gate.tried, gate.unreachable, gate.notes) == (2, (), ())
        assert gate.offsets_s["1"] == pytest.approx(0, abs=60)
    finally:
        close(parties)


def test_a_difference_that_falsifies_nothing_is_a_note_on_node_0(plans, make_facts):
    parties = join_all(plans(), [make_facts(), make_facts(kernel="6.2")])
    try:
        assert parties[0].gate.notes == ("kernel differs: 6.1 on node 0, 6.2 on node 1 (host1)",)
    finally:
        close(parties)


def test_other_gpus_are_refused_on_every_node(plans, make_facts):
    def with_gpu(model):
        return make_facts(accelerator=Accelerator(vendor="amd", gpus=(Gpu(index=0, model=model),)))

    made = plans(gpus=(0,))
    made[0] = replace(made[0], nodes=(replace(made[0].node, gpus=(0,)),))
    for answer in join_all(made, [with_gpu("MI300X"), with_gpu("MI250")]):
        assert isinstance(answer, Aborted)
        assert "GPUs of the job differs: 1 x MI300X on node 0, 1 x MI250 on node 1 (host1)" in answer.failure.text


@pytest.mark.parametrize("rank", [0, 1])
def test_an_interface_that_is_missing_is_an_error_there_and_told_to_the_other(plans, make_facts, rank):
    made = plans()
    node = replace(made[rank].node, gloo_ifname="ib7")
    made[rank] = replace(made[rank], nodes=(node,))
    answers = join_all(made, [make_facts(), make_facts()])
    assert isinstance(answers[rank], ContextError)
    assert isinstance(answers[1 - rank], Aborted)
    for answer in answers:
        assert "GLOO_SOCKET_IFNAME: this host has no interface ib7; it has: lo, eth0" in str(answer)


def test_notes_of_both_stages_stand_in_the_gate():
    gate = gate_of({"notes": ["b"], "tried": 2}, ("a",))
    assert (gate.notes, gate.tried) == (("a", "b"), 2)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_node_that_cannot_begin_tells_the_one_that_waits(plans, make_facts, port, rank):
    waiting = ThreadPoolExecutor(1).submit(join_all, [plans()[1 - rank]], [make_facts()])
    time.sleep(0.3)
    meeting = Meeting(nnodes=2, node_rank=rank, address="127.0.0.1", port=port, hostname="beta", cards="one")
    farewell(meeting, "no disk")
    (answer,) = waiting.result(60)
    assert f"node {rank} (beta) could not begin: no disk" in str(answer)


def test_a_node_that_cannot_begin_tells_a_node_0_that_is_started_a_moment_later(plans, make_facts, port):
    meeting = Meeting(nnodes=2, node_rank=1, address="127.0.0.1", port=port, hostname="beta", cards="one")
    early = ThreadPoolExecutor(1).submit(farewell, meeting, "no data")
    time.sleep(0.5)
    (answer,) = join_all([plans()[0]], [make_facts()])
    assert "node 1 (beta) could not begin: no data" in str(answer)
    early.result(60)


@pytest.mark.parametrize(
    ("nnodes", "rank", "words"),
    [
        (2, 2, "NODE_RANK 2 on beta is out of range; allowed: 0 to 1"),
        (1, 1, "NNODES differs: 1 on beta (NODE_RANK 1), 2 on node 0"),
    ],
)
@pytest.mark.e2e
def test_numbers_that_cannot_be_are_told_to_the_node_that_waits(plans, make_facts, port, nnodes, rank, words):
    waiting = ThreadPoolExecutor(1).submit(join_all, [plans()[0]], [make_facts()])
    time.sleep(0.3)
    farewell(Meeting(nnodes=nnodes, node_rank=rank, address="127.0.0.1", port=port, hostname="beta", cards="one"), "x")
    (answer,) = waiting.result(60)
    assert words in str(answer)


def test_a_node_that_comes_after_the_refusal_hears_why(plans, make_facts, port, monkeypatch):
    monkeypatch.setattr(room, "_STAY_S", 60.0)
    made = plans()
    first = ThreadPoolExecutor(1).submit(join_all, [made[0]], [make_facts()])
    time.sleep(0.3)
    farewell(Meeting(nnodes=3, node_rank=2, address="127.0.0.1", port=port, hostname="gamma", cards="one"), "x")
    time.sleep(0.5)
    (late,) = join_all([made[1]], [make_facts()])
    assert "NNODES differs: 3 on gamma (NODE_RANK 2), 2 on node 0" in str(late)
    assert "NNODES differs" in str(first.result(60)[0])


@pytest.mark.e2e
def test_nobody_to_tell_costs_nothing_and_raises_nothing(port, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(leaving, "_call", lambda *_: pytest.fail("there is nobody to call"))
        patch.setattr(leaving, "_stay", lambda *_: pytest.fail("there is nobody to stay for"))
        for rank, address in ((0, "127.0.0.1"), (1, "localhost")):
            farewell(Meeting(nnodes=1, node_rank=rank, address=address, port=port, hostname="b", cards=""), "x")
    farewell(Meeting(nnodes=2, node_rank=1, address="127.0.0.1", port=port, hostname="b", cards=""), "x")
    assert threading.active_count() < 20


@pytest.mark.e2e
def test_a_node_that_calls_another_address_of_node_0s_host_hears_of_it_at_once(plans, make_facts):
    made = plans(master_addr="127.0.0.2")
    facts = make_facts(interfaces=(Interface(name="lo", addresses=("127.0.0.1", "127.0.0.2")),))
    for answer in join_all(made, [facts, facts]):
        assert isinstance(answer, (MadrunError, Aborted))
        assert "MASTER_ADDR differs: host1 (NODE_RANK 1) called 127.0.0.2" in str(answer)
