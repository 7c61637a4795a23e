"""Where a node meets the others, from the words of its context."""

from madrun.cli.place import find_topology, place_notes, place_whys
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
