"""By which interfaces and addresses a node talks to the others, and which of them cannot serve."""

from dataclasses import replace

import pytest

from madrun.errors import ContextError
from madrun.node.joining.doorways import (
    check_interfaces,
    check_names,
    other_addresses,
    own_address,
    used_addresses,
    used_network,
)
from madrun.spec.facts import Interface


def test_the_addresses_are_the_first_of_the_chosen_interfaces_as_torch_takes_them(
    make_test_plan, make_node, make_facts
):
    interfaces = (
        Interface(name="lo", addresses=("127.0.0.1", "::1")),
        Interface(name="eth0", addresses=("10.7.0.5", "10.0.0.5", "fe80::5", "2001:db8::5")),
        Interface(name="ib0", addresses=("10.1.0.5",)),
    )
    plan = make_test_plan(node=make_node(master_addr="10.0.0.5", gloo_ifname="eth0", nccl_ifname="=ib0"))
    facts = make_facts(interfaces=interfaces)
    assert used_addresses(plan, facts) == [("eth0", "10.7.0.5"), ("ib0", "10.1.0.5")]
    assert own_address(plan, facts) == ("eth0", "10.0.0.5")
    assert own_address(plan, make_facts(interfaces=())) == ("", "")
    six = make_test_plan(node=make_node(master_addr="2001:db8::1", gloo_ifname="eth0", nccl_ifname="=eth0"))
    assert used_addresses(six, facts) == [("eth0", "10.7.0.5"), ("eth0", "2001:db8::5")]
    assert own_address(six, facts) == ("eth0", "2001:db8::5")
    assert other_addresses("10.0.0.5", facts) == ["127.0.0.1", "::1", "10.7.0.5", "2001:db8::5", "10.1.0.5"]


def test_the_network_told_to_the_others_is_that_of_gloos_interface(make_test_plan, make_node, make_facts):
    interfaces = (
        Interface(name="eth0", addresses=("fe80::5", "10.0.0.5"), networks=("fe80::/64", "10.0.0.0/24")),
        Interface(name="ib0", addresses=("10.1.0.5",), networks=("10.1.0.0/16",)),
    )
    plan = make_test_plan(node=make_node(master_addr="10.0.0.1", gloo_ifname="eth0", nccl_ifname="=ib0"))
    assert used_network(plan, make_facts(interfaces=interfaces)) == "10.0.0.0/24"
    assert used_network(plan, make_facts(interfaces=interfaces[1:])) == "10.1.0.0/16"
    assert used_network(plan, make_facts(interfaces=())) == ""


def test_on_one_node_a_name_that_is_not_there_is_an_error_with_those_that_are(make_test_plan, make_node, make_facts):
    plan = make_test_plan(node=make_node(gloo_ifname="ib7", nccl_ifname="=ib7"))
    with pytest.raises(ContextError, match="GLOO_SOCKET_IFNAME: this host has no interface ib7; it has: lo, eth0"):
        check_names(plan, make_facts())
    check_names(plan, make_facts(interfaces=()))
    check_names(make_test_plan(node=make_node()), make_facts())


def test_a_container_in_a_network_of_its_own_may_have_any_interface(make_test_plan, make_node, make_facts, container):
    here = make_node(gloo_ifname="ib7", process=None, container=container)
    with pytest.raises(ContextError, match="ib7"):
        check_names(make_test_plan(node=here), make_facts())
    enclosed = replace(here, container=replace(container, network="none"))
    check_names(make_test_plan(node=enclosed), make_facts())


def test_an_interface_with_addresses_of_one_link_alone_is_refused(make_test_plan, make_node, make_facts):
    bare = Interface(name="ib0", addresses=("fe80::7",), networks=("fe80::/64",))
    eth0 = Interface(name="eth0", addresses=("10.0.0.5",), networks=("10.0.0.0/24",))
    plan = make_test_plan(node=make_node(master_addr="10.0.0.1", gloo_ifname="ib0", nccl_ifname="=eth0"))
    with pytest.raises(ContextError, match=r"ib0 of this host has link-local addresses alone \(fe80::7\).*eth0"):
        check_interfaces(plan, make_facts(interfaces=(eth0, bare)))


def test_loopback_leads_nowhere_where_the_nodes_are_on_several_hosts(make_test_plan, make_node, make_facts):
    remote = make_node(master_addr="10.0.0.1", gloo_ifname="lo", nccl_ifname="=lo")
    with pytest.raises(ContextError, match=r"interface lo of this host has 127\.0\.0\.1, which no other host reaches"):
        check_interfaces(make_test_plan(node=remote), make_facts())
    check_interfaces(make_test_plan(node=make_node(gloo_ifname="lo", nccl_ifname="=lo")), make_facts())
