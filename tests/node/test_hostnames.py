"""Containers know the nodes by name, and their addresses as torch's store sees them."""

from madrun.node.hostnames import MOST, host_names
from madrun.spec.record import Gate


def test_each_node_has_its_name_and_a_line_for_the_address_that_a_dual_stack_server_sees():
    gate = Gate(hosts=(("alpha", "10.0.0.1"), ("beta", "fd00::2")))
    assert host_names(gate, 1) == ("alpha:10.0.0.1", "beta:fd00::2", "alpha-v4mapped:::ffff:10.0.0.1")


def test_names_that_stand_for_nothing_or_for_two_are_not_given():
    assert host_names(None, 0) == ()
    assert host_names(Gate(hosts=(("one", "127.0.0.1"), ("two", "127.0.0.1"))), 0) == ()
    assert host_names(Gate(hosts=(("same", "10.0.0.1"), ("same", "10.0.0.2"))), 0) == ()


def test_of_many_nodes_only_node_0_knows_all():
    gate = Gate(hosts=tuple((f"n{rank}", f"10.0.{rank // 250}.{rank % 250 + 1}") for rank in range(MOST + 1)))
    assert len(host_names(gate, 0)) == 2 * (MOST + 1)
    assert [line.partition(":")[0] for line in host_names(gate, 7)] == ["n0", "n7", "n0-v4mapped", "n7-v4mapped"]
