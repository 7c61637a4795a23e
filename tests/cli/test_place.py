"""Where a node meets the others, from the words of its context."""

from dataclasses import replace

import pytest

from madrun.cli import place
from madrun.cli.place import find_topology, place_notes, place_whys, refusals
from madrun.errors import ContextError
from madrun.spec.card import Card
from madrun.spec.context import Context, MultiNodeArgs

CARD = Card(name="one", folder="/r/models/one", repository="/r", source="s", script="run.sh")


def found(facts, context):
    claims = []
    try:
        return find_topology(CARD, context, facts, claims)
    finally:
        for claim in claims:
            claim.release()


def test_an_interface_of_docker_env_vars_is_the_nodes_and_one_that_is_lacking_is_said(make_facts):
    context = Context(
        multi_node_args=MultiNodeArgs(NCCL_SOCKET_IFNAME="eth0"), docker_env_vars={"NCCL_SOCKET_IFNAME": "ib7"}
    )
    topology = found(make_facts(), context)
    assert (topology.nccl_ifname, topology.gloo_ifname) == ("ib7", "lo")
    assert place_notes(context, topology, make_facts()) == [
        "NCCL_SOCKET_IFNAME: this host has no interface ib7; it has: lo, eth0"
    ]
    assert place_whys(context, topology) == {
        "multi_node_args.NCCL_SOCKET_IFNAME": "docker_env_vars.NCCL_SOCKET_IFNAME",
        "multi_node_args.GLOO_SOCKET_IFNAME": "lo: loopback, as MASTER_ADDR",
    }


def test_what_a_run_refuses_is_known_before_so_that_it_need_not_be_said_twice(
    make_test_plan, make_job, make_node, make_facts, container
):
    lacking = "NCCL_SOCKET_IFNAME: this host has no interface ib7; it has: lo, eth0"
    node = make_node(nccl_ifname="ib7")
    for nnodes in (1, 2):
        assert refusals(make_test_plan(make_job(nnodes=nnodes), node), make_facts()) == {lacking}
    enclosed = make_node(nccl_ifname="ib7", container=replace(container, network="none"))
    assert refusals(make_test_plan(make_job(), enclosed), make_facts()) == set()  # nobody refuses it: the note stays
    found = refusals(make_test_plan(make_job(nnodes=2, transport="rdma"), make_node()), make_facts())
    assert [text.partition(",")[0] for text in found] == ["TRANSPORT: found 'rdma'"]
    assert refusals(make_test_plan(make_job(nnodes=2), make_node()), make_facts()) == set()


def test_in_a_launch_a_name_that_node_0_gets_later_is_waited_for(monkeypatch, capsys):
    answers = iter([None, None, "10.0.0.7"])

    def resolve(address):
        if (found := next(answers)) is None:
            raise ContextError(f"{address}: not yet")
        return found

    monkeypatch.setattr(place.network, "resolve", resolve)
    monkeypatch.setattr(place, "_NAME_AGAIN_S", 0.01)
    assert place._resolve_in_time("node-0", 5.0) == "10.0.0.7"
    assert capsys.readouterr().err == "madrun: waiting until node 0 has its name: node-0\n"


def test_outside_of_a_launch_a_name_that_means_nothing_is_an_error_at_once(monkeypatch):
    asked = []
    monkeypatch.setattr(place.network, "resolve", lambda name: asked.append(name) or _not_yet(name))
    with pytest.raises(ContextError):
        place._resolve_in_time("node-0", 0.0)
    assert asked == ["node-0"]


def _not_yet(name):
    raise ContextError(f"{name}: not yet")
