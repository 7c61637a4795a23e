"""Interfaces that the user named: whether they are there, and how they stand to the way to the master."""

import pytest

from madrun.errors import ContextError
from madrun.planning.namedinterfaces import interface_notes, interface_problems, settle, used_interfaces
from madrun.spec.facts import Interface

LO = Interface(name="lo", addresses=("127.0.0.1",), networks=("127.0.0.0/8",), kind="loopback")
ETH0 = Interface(name="eth0", addresses=("10.0.0.5",), networks=("10.0.0.0/24",), kind="ethernet")
ETH1 = Interface(name="eth1", addresses=("10.0.0.6",), networks=("10.0.0.0/24",), kind="ethernet", carrier=False)
IB0 = Interface(name="ib0", addresses=("10.1.0.5",), networks=("10.1.0.0/24",), kind="infiniband")
DOCKER0 = Interface(name="docker0", addresses=("172.17.0.1",), networks=("172.17.0.0/16",), kind="bridge")
HOST = (LO, DOCKER0, ETH0, ETH1, IB0)
ENDS = ("10.0.0.1", "10.0.0.5")


def test_what_is_not_named_is_chosen_each_in_its_syntax():
    found = settle("", "", ENDS, HOST, True)
    assert (found.gloo, found.nccl, found.network, found.doubts) == ("eth0", "=eth0", "10.0.0.0/24", ())
    assert found.why.startswith("eth0 (10.0.0.0/24, ethernet): ")


def test_what_is_named_stands_and_another_way_than_the_masters_is_said():
    found = settle("ib0", "=ib0", ENDS, HOST, True)
    assert (found.gloo, found.nccl, found.network) == ("ib0", "=ib0", "10.1.0.0/24")
    assert found.doubts == ("ib0 (10.1.0.0/24) was named, but the way to MASTER_ADDR 10.0.0.1 is eth0 (10.0.0.0/24)",)
    assert settle("ib0", "=ib0", ENDS, HOST, False).doubts == ()
    assert settle("ib0", "=ib0", ("127.0.0.1", "127.0.0.1"), HOST, True).doubts == ()


def test_two_networks_for_gloo_and_nccl_are_said():
    found = settle("", "ib", ENDS, HOST, True)
    assert (found.gloo, found.nccl) == ("eth0", "ib")
    assert found.doubts == ("two networks: Gloo over eth0 (10.0.0.0/24) and NCCL over ib0 (10.1.0.0/24)",)


def test_another_interface_of_the_masters_network_needs_no_word():
    assert settle("eth1", "=eth1", ENDS, HOST, True).doubts == ()


def test_a_bridge_for_containers_that_is_named_is_said():
    found = settle("docker0", "=docker0", ENDS, HOST, True)
    assert found.doubts[0] == "docker0 (172.17.0.0/16) is a bridge for containers of this host, and leads nowhere else"


def test_with_both_named_nothing_has_to_be_chosen():
    found = settle("ib0", "=ib0", ("10.0.0.1", "10.77.0.1"), (LO, IB0), True)
    assert (found.gloo, found.why, found.doubts) == ("ib0", "", ())
    with pytest.raises(ContextError, match="give NCCL_SOCKET_IFNAME"):
        settle("ib0", "", ("10.0.0.1", "10.77.0.1"), (LO, IB0), True)


def test_a_name_that_this_host_lacks_has_no_network():
    found = settle("ib7", "^docker", ENDS, HOST, True)
    assert (found.gloo, found.nccl, found.network) == ("ib7", "^docker", "")


def test_a_part_of_a_bond_is_refused_with_the_bonds_name():
    part = Interface(name="eth2", addresses=("10.0.0.8",), networks=("10.0.0.0/24",), master="bond0")
    bond = Interface(name="bond0", addresses=("10.0.0.9",), networks=("10.0.0.0/24",), kind="bond", lower=("eth2",))
    assert interface_problems("eth2", "=bond0", (part, bond), {}) == [
        "interface eth2 of this host is a part of bond bond0, which talks for it; give bond0"
    ]
    vrf = Interface(name="red", addresses=("10.0.0.9",), kind="vrf")
    in_vrf = Interface(name="eth2", addresses=("10.0.0.8",), master="red")
    assert interface_problems("eth2", "=eth2", (in_vrf, vrf), {}) == []


def test_a_part_without_an_address_is_named_with_the_whole():
    states = {"eth2": "without an address: a part of bond bond0"}
    (line,) = interface_problems("eth2", "=eth0", (ETH0,), states)
    assert "no interface eth2 with an address (it is there, and has none: a part of bond bond0)" in line
    assert line.endswith("it has: eth0 (10.0.0.0/24)")


@pytest.mark.parametrize(
    ("nccl", "gloo", "named"),
    [
        ("eth", "eth0", []),
        ("=eth0", None, []),
        ("ib0,eth", None, []),
        ("eth0:5000", None, []),
        ("^docker", None, []),
        ("^=docker0", None, []),
        (None, None, []),
        ("=eth", None, ["NCCL_SOCKET_IFNAME"]),
        ("ens14np0", "ens14np0", ["NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME"]),
        (None, "eth", ["GLOO_SOCKET_IFNAME"]),
        (None, "=eth0", ["GLOO_SOCKET_IFNAME"]),
    ],
)
def test_an_interface_that_this_host_lacks_is_named_with_those_it_has(make_facts, nccl, gloo, named):
    notes = interface_notes(gloo or "", nccl or "", make_facts().interfaces)
    assert [note.partition(":")[0] for note in notes] == named
    assert all("this host has no interface" in note and note.endswith("it has: lo, eth0") for note in notes)


@pytest.mark.parametrize(
    ("gloo", "nccl", "words"),
    [
        ("eth0", "=eth0", []),
        ("eth0,lo", "^lo,docker", []),
        ("eth0", "eth,ib", []),
        ("ib0", "eth", ["GLOO_SOCKET_IFNAME: this host has no interface ib0; it has: lo, eth0"]),
        ("eth", "eth", ["eth (Gloo takes whole names: no prefix, no =, no ^)"]),
        ("=eth0", "=eth0", ["=eth0 (Gloo takes whole names"]),
        ("eth0", "=eth", ["NCCL_SOCKET_IFNAME: this host has no interface eth;"]),
        ("eth1", "eth", ["eth1 with an address (it is there, and has none)"]),
        ("eth0,ib0", "eth", ["no interface ib0;"]),
    ],
)
def test_interfaces_that_will_not_serve_are_named_with_why(make_facts, gloo, nccl, words):
    states = {"lo": "up", "eth0": "up", "eth1": "without an address"}
    found = interface_problems(gloo, nccl, make_facts().interfaces, states)
    assert len(found) == len(words), found
    assert all(word in line for word, line in zip(words, found, strict=True))


def test_an_interface_that_is_down_is_named_with_the_command_that_brings_it_up(make_facts):
    assert interface_problems("eth0", "=eth0", make_facts().interfaces, {"eth0": "down"}) == [
        "interface eth0 of this host is down; ip link set eth0 up"
    ]


@pytest.mark.parametrize(
    ("gloo", "nccl", "used"),
    [
        ("eth0", "=eth0", ["eth0"]),
        ("eth0", "ib", ["eth0", "ib0"]),
        ("eth0", "^eth", ["eth0"]),
        ("none", "=ib1", ["ib1"]),
        ("none", "ib,eth", ["eth0"]),
        ("none", "=ib", []),
    ],
)
def test_the_interfaces_that_will_be_used_are_those_of_gloo_and_nccl(gloo, nccl, used):
    assert used_interfaces(gloo, nccl, ("lo", "eth0", "ib0", "ib1")) == used


def test_ends_of_cables_into_containers_are_not_among_those_that_could_be_named():
    veth = Interface(name="veth1", addresses=("fe80::9",), networks=("fe80::/64",), kind="virtual", master="docker0")
    assert interface_notes("ib7", "", (*HOST[:3], veth)) == [
        "GLOO_SOCKET_IFNAME: this host has no interface ib7; it has: lo (127.0.0.0/8), docker0 (172.17.0.0/16), "
        "eth0 (10.0.0.0/24)"
    ]
