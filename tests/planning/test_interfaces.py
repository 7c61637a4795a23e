"""Which interface is chosen, why, and what is said against it."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.errors import ContextError
from madrun.planning.interfaces import choose, is_for_containers, named, network_towards, variables
from madrun.spec.facts import Interface


def nic(name, *cidrs, **more):
    """An interface with these addresses, each with the length of its network."""
    faces = [ipaddress.ip_interface(cidr) for cidr in cidrs]
    values = {"kind": "ethernet", "up": True} | more
    return Interface(
        name=name, addresses=tuple(str(f.ip) for f in faces), networks=tuple(str(f.network) for f in faces), **values
    )


LO = nic("lo", "127.0.0.1/8", "::1/128", kind="loopback")
ETH0 = nic("eth0", "10.0.0.5/24", "fe80::5/64")
ETH1 = nic("eth1", "10.1.0.5/24")
DOCKER0 = nic("docker0", "172.17.0.1/16", kind="bridge")


def chosen(master, local, *interfaces, several=True):
    return choose(master, local, interfaces, several)


def test_the_interface_that_has_the_masters_address_is_node_0s():
    found = chosen("10.0.0.5", "10.0.0.5", LO, DOCKER0, ETH1, ETH0)
    assert (found.interface.name, found.network, found.doubts) == ("eth0", "10.0.0.0/24", ())
    assert found.why == "eth0 (10.0.0.0/24, ethernet): it has MASTER_ADDR"


def test_loopback_is_chosen_for_loopback_alone():
    found = chosen("127.0.1.1", "127.0.0.1", LO, ETH0)
    assert (found.interface.name, found.doubts) == ("lo", ())


def test_a_masters_address_on_loopback_is_refused_since_torch_would_tell_127_0_0_1():
    lo = nic("lo", "127.0.0.1/8", "10.99.0.1/32", kind="loopback")
    with pytest.raises(ContextError, match=r"found 10.99.0.1, an address of lo.*tells the other nodes 127.0.0.1") as no:
        chosen("10.99.0.1", "10.99.0.1", lo, ETH0, DOCKER0)
    assert "another interface: eth0 (10.0.0.0/24); or" in str(no.value)
    assert chosen("10.99.0.1", "10.99.0.1", lo, several=False).interface.name == "lo"
    with pytest.raises(ContextError, match=r"10.99.0.2, towards which this host has an address of lo, of which torch"):
        chosen("10.99.0.2", "10.99.0.1", lo, ETH0)  # routes to the host: each has its address on lo


def test_of_several_networks_that_of_the_master_is_taken_in_silence_where_the_route_agrees():
    found = chosen("10.1.0.9", "10.1.0.5", LO, ETH0, ETH1)
    assert (found.interface.name, found.network, found.doubts) == ("eth1", "10.1.0.0/24", ())
    assert found.why.endswith("MASTER_ADDR lies in its network")


def test_the_masters_network_stands_above_another_route_and_that_is_said():
    found = chosen("10.1.0.9", "10.0.0.5", LO, ETH0, ETH1)
    assert found.interface.name == "eth1"
    (doubt,) = found.doubts
    assert "leads over eth0 (10.0.0.0/24), but 10.1.0.9 lies in 10.1.0.0/24 of eth1, which is taken" in doubt
    assert chosen("10.1.0.9", "10.0.0.5", LO, ETH0, ETH1, several=False).doubts == ()


def test_the_narrowest_network_that_holds_the_master_is_taken():
    wide = nic("eth2", "10.200.0.1/8")
    assert chosen("10.1.0.9", "10.1.0.5", LO, wide, ETH1).interface.name == "eth1"


def test_a_router_on_the_way_is_said_with_the_network():
    found = chosen("10.9.0.1", "10.0.0.5", LO, ETH0, ETH1)
    assert found.interface.name == "eth0"
    assert found.doubts == (
        "MASTER_ADDR 10.9.0.1 lies in no network of this host: eth0 (10.0.0.0/24) reaches it through a router",
    )


def test_a_machine_whose_network_is_one_address_has_nothing_to_be_told():
    cloud = nic("ens4", "10.128.0.7/32")
    assert chosen("10.128.0.2", "10.128.0.7", LO, cloud).doubts == ()


@pytest.mark.parametrize(
    "wrong",
    [
        DOCKER0,
        nic("eth9", "172.17.0.9/16", up=False),
        nic("eth9", "172.17.0.9/16", master="bond0"),
        nic("lo", "127.0.0.1/8", kind="loopback"),
    ],
)
def test_what_leads_nowhere_is_not_chosen_for_its_network_alone(wrong):
    bond = nic("bond0", "10.2.0.5/24", kind="bond", lower=("eth9",))
    assert chosen("172.17.0.4", "10.0.0.5", LO, wrong, bond, ETH0).interface.name == "eth0"


def test_a_route_over_a_bridge_for_containers_is_said_with_the_candidates():
    found = chosen("172.17.0.4", "172.17.0.1", LO, DOCKER0, ETH0, ETH1)
    assert found.interface.name == "docker0"
    (doubt,) = found.doubts
    assert doubt.startswith("docker0 (172.17.0.0/16) is a bridge for containers of this host, and leads nowhere else")
    assert doubt.endswith("eth0 (10.0.0.0/24), eth1 (10.1.0.0/24)")


def test_a_bridge_that_a_cable_is_a_part_of_is_like_any_other():
    br0 = nic("br0", "10.5.0.5/24", kind="bridge", lower=("eth3",))
    assert not is_for_containers(br0)
    assert chosen("10.5.0.1", "10.5.0.5", LO, br0, ETH0).doubts == ()


def test_a_vlan_over_a_bond_is_chosen_and_described():
    bond = nic("bond0", "10.2.0.5/24", kind="bond", lower=("eth0", "eth1"))
    vlan = nic("bond0.100", "10.3.0.5/24", kind="vlan", lower=("bond0",))
    found = chosen("10.3.0.1", "10.3.0.5", LO, bond, vlan)
    assert found.why == "bond0.100 (10.3.0.0/24, vlan over bond0): MASTER_ADDR lies in its network"


def test_ip_over_infiniband_is_chosen_like_ethernet():
    ib0 = nic("ib0", "10.4.0.5/16", kind="infiniband")
    assert chosen("10.4.7.1", "10.4.0.5", LO, ETH0, ib0).why.startswith("ib0 (10.4.0.0/16, infiniband): ")


def test_two_interfaces_in_one_network_are_a_doubt():
    twin = nic("eth2", "10.0.0.6/24")
    idle = nic("eth3", "10.0.0.7/24", carrier=False)
    found = chosen("10.0.0.1", "10.0.0.6", LO, ETH0, twin, idle)
    assert found.interface.name == "eth2"
    assert found.doubts[0].startswith("eth2, eth0 are all in 10.0.0.0/24: unless there is a route for each source")


def test_that_gloo_takes_the_first_of_several_addresses_is_said():
    both = nic("eth0", "10.7.0.5/24", "10.0.0.5/24", "fd00::5/64")
    for master in ("10.0.0.1", "fd00::1"):
        (doubt,) = chosen(master, "10.0.0.5", LO, both).doubts
        assert doubt.startswith("Gloo takes the first address of eth0, 10.7.0.5, and not that in ")
    assert chosen("10.7.0.1", "10.7.0.5", LO, both).doubts == ()


def test_a_host_of_ipv6_alone_has_its_network():
    six = nic("eth0", "fd00:1::5/64", "fe80::5/64")
    found = chosen("fd00:1::1", "fd00:1::5", LO, six)
    assert (found.interface.name, found.network, found.doubts) == ("eth0", "fd00:1::/64", ())


def test_an_address_of_no_interface_asks_for_names_and_lists_what_there_is():
    with pytest.raises(ContextError, match=r"10.9.9.9; give NCCL_SOCKET_IFNAME and GLOO.*lo \(127.0.0.0/8, ::1/128\)"):
        chosen("10.8.0.1", "10.9.9.9", LO, ETH0)


def test_networks_that_are_not_known_change_nothing():
    bare = Interface(name="eth0", addresses=("10.0.0.5",))
    found = chosen("10.0.0.4", "10.0.0.5", bare)
    assert (found.interface.name, found.network, found.doubts) == ("eth0", "", ())
    assert named([bare]) == "eth0"
    assert named([]) == "none"


def test_the_network_towards_the_master_is_the_one_that_holds_it_else_of_its_family():
    both = nic("eth0", "fe80::5/64", "192.168.7.5/24", "10.0.0.5/24", "fd00::5/64")
    assert network_towards(both, "10.0.0.9") == "10.0.0.0/24"
    assert network_towards(both, "10.9.9.9") == "192.168.7.0/24"
    assert network_towards(both, "2001:db8::1") == "fd00::/64"
    assert network_towards(ETH1, "2001:db8::1") == "10.1.0.0/24"


@pytest.mark.parametrize(
    ("runner", "rdma", "changes", "expected"),
    [
        ("torchrun", False, {}, {"TP_SOCKET_IFNAME": "eth0"}),
        ("torchrun", False, {"nnodes": 1}, {}),
        ("mpirun", False, {}, {"TP_SOCKET_IFNAME": "eth0", "UCX_NET_DEVICES": "eth0"}),
        ("mpirun", True, {}, {"TP_SOCKET_IFNAME": "eth0"}),
        (
            "torchrun",
            False,
            {"master_addr": "fd00::1", "network": "fd00::/64"},
            {"TP_SOCKET_IFNAME": "eth0", "NCCL_SOCKET_FAMILY": "AF_INET6"},
        ),
        ("torchrun", False, {"master_addr": "fd00::1", "network": "10.0.0.0/24"}, {"TP_SOCKET_IFNAME": "eth0"}),
    ],
)
def test_other_libraries_are_told_in_their_own_syntax(make_topology, runner, rdma, changes, expected):
    assert variables(make_topology(**changes), runner, rdma) == expected


@settings(max_examples=40)
@given(st.ip_addresses(), st.lists(st.tuples(st.ip_addresses(), st.integers(8, 32)), min_size=1, max_size=5))
def test_something_is_chosen_for_every_address_and_never_loopback_for_another(master, cidrs):
    faces = [nic(f"eth{place}", f"{address}/{length}") for place, (address, length) in enumerate(cidrs)]
    local = faces[-1].addresses[0]
    try:
        found = choose(str(master), local, (LO, *faces), True)
    except ContextError as error:
        assert "torch tells the other nodes" in str(error) or "give NCCL_SOCKET_IFNAME" in str(error)
        return
    has = master in map(ipaddress.ip_address, found.interface.addresses)
    assert has or (found.interface is LO) == master.is_loopback
