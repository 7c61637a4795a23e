"""From the context's words and the host's facts to a topology that can be believed."""

import pytest

from madrun.errors import ContextError
from madrun.planning.topology import (
    check_master_is_here,
    check_name_of_master,
    check_ranks,
    check_scope,
    resolve_topology,
    with_scheduler,
    with_variables,
)
from madrun.spec.context import MultiNodeArgs
from madrun.spec.facts import Accelerator, Gpu, Interface

KNOWN = ("torchrun", "plain")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ({"RUNNER": "torchrum"}, ["RUNNER", "'torchrum'", "did you mean 'torchrun'?", "plain, torchrun"]),
        ({"RUNNER": "plain", "NPROC_PER_NODE": 4}, ["NPROC_PER_NODE", "found 4 with RUNNER 'plain'", "allowed: 1"]),
        ({"NNODES": 2, "NODE_RANK": 2}, ["NODE_RANK", "found 2 with NNODES 2", "0 to 1"]),
        ({"MASTER_PORT": 5000, "CONTROL_PORT": 5000}, ["CONTROL_PORT", "5000", "another port"]),
        ({"MASTER_PORT": 65535, "NNODES": 2}, ["MASTER_PORT", "65535", "CONTROL_PORT"]),
    ],
)
def test_wrong_ranks_and_ports_are_named_with_what_is_allowed(args, parts):
    with pytest.raises(ContextError, match=r"^multi_node_args\.") as caught:
        check_ranks(MultiNodeArgs(**args), KNOWN)
    assert [part for part in parts if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"NNODES": 2, "NODE_RANK": 1},
        {"MASTER_PORT": 65535},
        {"MASTER_PORT": 65535, "CONTROL_PORT": 1},
        {"RUNNER": "plain", "NPROC_PER_NODE": 1},
    ],
)
def test_right_ranks_and_ports_pass(args):
    check_ranks(MultiNodeArgs(**args), KNOWN)


def test_the_schedulers_words_fill_what_is_not_given():
    scheduler = {"NNODES": "2", "NODE_RANK": "1"}
    assert with_scheduler({"NNODES": 2}, scheduler) == {"NNODES": "2", "NODE_RANK": "1"}


def test_a_rank_that_differs_from_the_schedulers_is_an_error_that_says_both():
    with pytest.raises(ContextError, match="NODE_RANK: found '0', but the scheduler's environment says 1"):
        with_scheduler({"NODE_RANK": "0"}, {"NODE_RANK": "1"})


def test_on_node_0_the_master_must_be_an_address_of_this_host(make_facts):
    args = MultiNodeArgs(MASTER_ADDR="gamma")
    check_master_is_here(args, "10.0.0.5", make_facts())
    check_master_is_here(args, "127.0.0.1", make_facts())
    with pytest.raises(ContextError, match=r"'gamma' \(10.9.9.9\).*host alpha.*127.0.0.1, ::1, 10.0.0.5"):
        check_master_is_here(args, "10.9.9.9", make_facts())


def test_on_another_node_the_master_may_be_anywhere(make_facts):
    check_master_is_here(MultiNodeArgs(NODE_RANK=1, NNODES=2), "10.9.9.9", make_facts())


def resolved(facts, gpus_per_node=None, **args):
    return resolve_topology(MultiNodeArgs(**args), facts, gpus_per_node, "10.0.0.4", "10.0.0.5", 23456)


def test_one_node_takes_the_free_port_and_several_take_the_documented_one(make_facts):
    assert resolved(make_facts()).master_port == 23456
    two = resolved(make_facts(), NNODES=2, NODE_RANK=1)
    assert (two.master_port, two.control_port) == (29501, 29502)
    given = resolved(make_facts(), NNODES=2, MASTER_PORT=4000, CONTROL_PORT=5000)
    assert (given.master_port, given.control_port) == (4000, 5000)


def test_interfaces_are_chosen_by_the_route_unless_given(make_facts):
    chosen = resolved(make_facts())
    assert (chosen.nccl_ifname, chosen.gloo_ifname) == ("=eth0", "eth0")
    given = resolved(make_facts(), NCCL_SOCKET_IFNAME="ib0,ib1", GLOO_SOCKET_IFNAME="ib0")
    assert (given.nccl_ifname, given.gloo_ifname) == ("ib0,ib1", "ib0")


def test_an_interface_name_with_shell_characters_is_refused(make_facts):
    with pytest.raises(ContextError, match="NCCL_SOCKET_IFNAME: found 'eth0; rm'"):
        resolved(make_facts(), NCCL_SOCKET_IFNAME="eth0; rm")


@pytest.mark.parametrize(
    ("gpus", "card", "args", "processes"),
    [
        (0, None, {}, 1),
        (8, None, {}, 8),
        (8, 4, {}, 4),
        (8, 4, {"NPROC_PER_NODE": 2}, 2),
        (0, 4, {}, 4),
        (0, None, {"NPROC_PER_NODE": 3}, 3),
        (8, None, {"RUNNER": "plain"}, 1),
    ],
)
def test_processes_per_node_come_from_args_card_and_host_in_this_order(make_facts, gpus, card, args, processes):
    facts = make_facts(accelerator=Accelerator(vendor="amd", gpus=tuple(Gpu(index=i) for i in range(gpus))))
    topology = resolved(facts, card, NNODES=2, **args)
    assert topology.nproc_per_node == processes
    assert topology.world_size == 2 * processes


def test_more_processes_than_accelerators_is_an_error(make_facts):
    with pytest.raises(ContextError, match="found 9, but the job has 8 GPUs on this host; allowed: 1 to 8"):
        resolved(
            make_facts(accelerator=Accelerator(vendor="amd", gpus=tuple(Gpu(index=i) for i in range(8)))),
            NPROC_PER_NODE=9,
        )


@pytest.mark.parametrize("runner", ["mpirun", "slurm"])
def test_a_runner_that_is_like_none_gets_no_suggestion(runner):
    with pytest.raises(ContextError, match="allowed: plain, torchrun") as caught:
        check_ranks(MultiNodeArgs(RUNNER=runner), KNOWN)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_name_that_means_loopback_is_refused_with_the_line_and_the_way_out(make_facts, rank):
    args = MultiNodeArgs(NNODES=2, NODE_RANK=rank, MASTER_ADDR="head")
    with pytest.raises(ContextError, match="found 'head', which /etc/hosts:2 maps to 127.0.1.1") as caught:
        check_name_of_master(args, "127.0.1.1", make_facts(), "/etc/hosts:2")
    assert ("10.0.0.5 (eth0)" if rank == 0 else "MASTER_ADDR is this very machine") in str(caught.value)
    assert "fe80::5" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "address"),
    [("localhost", "127.0.0.1"), ("127.0.1.1", "127.0.1.1"), ("[::1]", "::1"), ("head", "10.0.0.5")],
)
def test_loopback_that_was_asked_for_and_names_of_addresses_pass(make_facts, said, address):
    check_name_of_master(MultiNodeArgs(NNODES=2, MASTER_ADDR=said), address, make_facts())


def test_one_node_may_have_any_name(make_facts):
    check_name_of_master(MultiNodeArgs(NNODES=1, MASTER_ADDR="head"), "127.0.1.1", make_facts())


@pytest.mark.parametrize("address", ["fe80::1", "fe80::1%eth0"])
def test_an_address_of_a_single_link_is_refused_with_what_is_allowed(address):
    with pytest.raises(ContextError, match="link-local address.*allowed: another address of node 0"):
        check_scope(MultiNodeArgs(MASTER_ADDR=address), address)


@pytest.mark.parametrize("address", ["10.0.0.1", "169.254.0.1", "fd00::1", "::1"])
def test_an_address_that_needs_no_interface_passes(address):
    check_scope(MultiNodeArgs(MASTER_ADDR=address), address)


def test_an_interface_in_docker_env_vars_stands_above_that_of_the_args(make_facts):
    args = MultiNodeArgs(NCCL_SOCKET_IFNAME="eth0", GLOO_SOCKET_IFNAME="eth1")
    found = with_variables(args, {"NCCL_SOCKET_IFNAME": "ib0", "GLOO_SOCKET_IFNAME": ""})
    assert (found.NCCL_SOCKET_IFNAME, found.GLOO_SOCKET_IFNAME) == ("ib0", "eth1")


def test_the_topology_says_the_network_and_why_its_interface_was_chosen(make_facts):
    eth0 = Interface(name="eth0", addresses=("10.0.0.5",), networks=("10.0.0.0/24",), kind="ethernet")
    found = resolved(make_facts(interfaces=(eth0,)), NNODES=2, NODE_RANK=1)
    assert (found.network, found.doubts) == ("10.0.0.0/24", ())
    assert found.why == "eth0 (10.0.0.0/24, ethernet): MASTER_ADDR lies in its network"
