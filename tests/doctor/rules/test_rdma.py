from dataclasses import replace

import pytest

from madrun.doctor.asked import Asked
from madrun.doctor.rules import rdma
from madrun.spec.fabric import Hca, HcaPort
from madrun.spec.facts import Accelerator, Gpu
from madrun.spec.health import FlowControl, PeerMemory

UP = HcaPort(number=1, state="ACTIVE", phys_state="LinkUp", link_layer="Ethernet", rate=400.0, netdev="eth1")
UVERBS = ("/dev/infiniband/uverbs0",)
DOWN = replace(UP, state="DOWN", phys_state="Disabled", netdev="eth2")


def adapters(*ports):
    return tuple(Hca(name=f"mlx5_{at}", device="0x1021", ports=(port,)) for at, port in enumerate(ports))


@pytest.mark.parametrize(
    ("ports", "transport", "state", "words"),
    [
        ((UP, UP), "auto", "PASS", "2 of 2 up, 400 Gb/s"),
        ((UP, DOWN), "auto", "WARN", "1 of 2 up, 400 Gb/s; mlx5_1:1 is DOWN (Disabled)"),
        ((UP, replace(UP, rate=100.0)), "auto", "WARN", "mlx5_1:1 runs at 100 Gb/s, its like at 400"),
        ((DOWN, DOWN), "auto", "WARN", "none of 2 is up"),
        ((DOWN, DOWN), "rdma", "FAIL", "none of 2 is up"),
        ((UP, replace(UP, state="")), "auto", "UNKNOWN", "the state of mlx5_1:1 cannot be read"),
    ],
)
def test_ports_are_judged_by_state_and_rate(make_facts, ports, transport, state, words):
    (found,) = rdma.ports(adapters(*ports), make_facts(infiniband=UVERBS), Asked(transport=transport))
    assert (found.state, words in found.text) == (state, True), found


@pytest.mark.parametrize(("transport", "state"), [("auto", "WARN"), ("rdma", "FAIL")])
def test_ports_that_no_program_can_open_do_not_pass(make_facts, transport, state):
    facts = make_facts(infiniband=("/dev/infiniband/rdma_cm",))
    (found,) = rdma.ports(adapters(UP, UP), facts, Asked(transport=transport))
    assert (found.state, "modprobe ib_uverbs" in found.advice) == (state, True)
    assert "2 of 2 up, 400 Gb/s; there is no /dev/infiniband/uverbs*" in found.text


def test_adapters_of_other_models_are_not_compared(make_facts):
    slow = Hca(name="mlx5_9", device="0x1017", ports=(replace(UP, rate=25.0),))
    (found,) = rdma.ports((*adapters(UP), slow), make_facts(infiniband=UVERBS), Asked())
    assert (found.state, found.text) == ("PASS", "2 of 2 up, 400, 25 Gb/s")


def test_only_ethernet_ports_that_are_up_are_asked_for_flow_control():
    infiniband = replace(UP, link_layer="InfiniBand", netdev="ib0")
    assert rdma.roce_interfaces(adapters(UP, DOWN, infiniband)) == ("eth1",)


def test_roce_without_flow_control_is_told(make_facts):
    (found,) = rdma.flow_control(FlowControl(priorities={"eth1": (3,), "eth2": ()}), make_facts(), Asked())
    assert (found.state, found.text) == ("WARN", "no priority of eth2 has flow control (PFC)")
    (found,) = rdma.flow_control(FlowControl(priorities={"eth1": (3,)}), make_facts(), Asked())
    assert (found.state, found.text) == ("PASS", "PFC on eth1: priority 3")


@pytest.mark.parametrize(
    ("kernel", "words"), [("6.8.0", "DMA-BUF may serve in its place"), ("5.4.0", "not loaded; Linux 5.4.0")]
)
def test_a_missing_way_to_gpu_memory_is_told_with_what_the_kernel_can(make_facts, kernel, words):
    facts = make_facts(accelerator=Accelerator(vendor="nvidia", gpus=(Gpu(index=0),)))
    (found,) = rdma.peer_memory(PeerMemory(ways=(), kernel=kernel), facts, Asked())
    assert (found.state, words in found.text) == ("WARN", True)
    assert "modprobe nvidia_peermem" in found.advice
    (found,) = rdma.peer_memory(PeerMemory(ways=("nvidia_peermem",), kernel=kernel), facts, Asked())
    assert (found.state, found.text) == ("PASS", "nvidia_peermem")
