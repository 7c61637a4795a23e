"""Interfaces of this host and of recorded ones: addresses, networks, and what each of them is."""

import ipaddress
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.probe.interfaces import addresses, addressless, interface_states, interfaces, network_of

RECORDED = Path(__file__).parent / "fixtures/net"


class Net:
    """/sys/class/net in a folder."""

    def __init__(self, root):
        self.root = root
        self.home = root / "sys/class/net"

    def recorded(self, name):
        """Lines as `eth0/type=1|`, `eth0/master -> bond0` and `eth0/device/`; `|` stands for the end of a line."""
        for line in (RECORDED / name).read_text().splitlines():
            path, arrow, target = line.partition(" -> ")
            file, equals, text = line.partition("=")
            if arrow:
                self.link(path, target)
            elif equals:
                self.write(file, text.replace("|", "\n"))
            else:
                (self.home / line).mkdir(parents=True)
        return self

    def write(self, path, text):
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def link(self, path, target):
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(f"../{target}")

    def add(self, name, devtype="", parts=(), folder="", type_=1, **files):
        """An interface as its driver publishes it; `folder` is what a driver adds, `parts` what it stands on."""
        self.write(f"{name}/uevent", f"DEVTYPE={devtype}\nINTERFACE={name}\n" if devtype else f"INTERFACE={name}\n")
        self.write(f"{name}/type", f"{type_}\n")
        for file, text in ({"flags": "0x1003", "carrier": "1", "mtu": "9000", "speed": "100000"} | files).items():
            self.write(f"{name}/{file}", f"{text}\n")
        if folder:
            (self.home / name / folder).mkdir()
        for part in parts:
            self.link(f"{name}/lower_{part}", part)
            if devtype in ("bond", "bridge"):
                self.link(f"{part}/master", name)

    def find(self, **literals):
        pairs = {name: tuple((address, "") for address in words) for name, words in literals.items()}
        return {one.name: one for one in interfaces(self.root, pairs)}


@pytest.fixture
def net(tmp_path):
    return Net(tmp_path)


def test_loopback_is_found_with_its_address_network_and_kind():
    lo = next(one for one in interfaces() if "127.0.0.1" in one.addresses)
    assert lo.networks[lo.addresses.index("127.0.0.1")] == "127.0.0.0/8"
    assert (lo.kind, lo.up) in (("loopback", True), ("", None))  # a container may have the /sys of another namespace


def test_addresses_are_plain_literals_that_lie_in_their_networks():
    found = [pair for one in interfaces() for pair in zip(one.addresses, one.networks, strict=True)]
    assert found
    for address, network in found:
        socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
        assert not network or ipaddress.ip_address(address) in ipaddress.ip_network(network)


def test_the_loopback_interface_is_up_and_others_have_a_word_too():
    states = interface_states()
    assert states["lo"] == "up"
    assert {state.partition(":")[0] for state in states.values()} <= {"up", "down", "without an address"}
    assert all(states[name] in ("up", "down") for name, pairs in addresses().items() if pairs)


def test_what_a_host_of_containers_has_is_told_apart(net):
    names = ("lo", "eth0", "docker0", "veth3a", "mv0", "vx0", "tun0", "tap0")
    found = net.recorded("host-of-containers.txt").find(**dict.fromkeys(names, ("10.0.0.5",)))
    assert {name: (one.kind, one.lower, one.master) for name, one in found.items()} == {
        "lo": ("loopback", (), ""),
        "eth0": ("virtual", (), ""),
        "docker0": ("bridge", (), ""),  # its part leads to a container
        "veth3a": ("virtual", (), "docker0"),
        "mv0": ("virtual", ("eth0",), ""),
        "vx0": ("vxlan", ("eth0",), ""),
        "tun0": ("tunnel", (), ""),
        "tap0": ("virtual", (), ""),
    }
    assert {name: (one.up, one.carrier) for name, one in found.items() if name in ("lo", "tun0", "tap0")} == {
        "lo": (True, True),
        "tun0": (True, False),
        "tap0": (False, None),
    }
    assert (found["vx0"].mtu, found["eth0"].speed) == (1450, 0)  # every veth says 10 Gbit/s


def test_a_vlan_over_a_bond_is_known_down_to_its_cables(net):
    for name in ("eth0", "eth1"):
        net.add(name, folder="device")
    net.add("bond0", "bond", ("eth0", "eth1"), folder="bonding", speed="200000")
    net.add("bond0.100", "vlan", ("bond0",), speed="200000")
    found = net.find(eth0=("10.0.0.5",), bond0=("10.0.0.5",), **{"bond0.100": ("10.1.0.5",)})
    assert [(one.kind, one.lower, one.master, one.speed) for one in found.values()] == [
        ("ethernet", (), "bond0", 100000),
        ("bond", ("eth0", "eth1"), "", 200000),
        ("vlan", ("bond0",), "", 200000),
    ]
    assert addressless("eth1", net.root) == "without an address: a part of bond bond0"
    assert addressless("none", net.root) == "without an address"


def test_a_bridge_that_a_cable_is_a_part_of_leads_out(net):
    net.add("eth0", folder="device")
    net.add("vnet0")
    net.add("br0", "bridge", ("eth0", "vnet0"), folder="bridge")
    assert net.find(br0=("10.0.0.5",))["br0"].lower == ("eth0",)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"type_": 32, "folder": "device"}, "infiniband"),
        ({"type_": 32, "parts": ("ib0",)}, "infiniband"),  # a child of another partition, as ib0.8001
        ({"devtype": "wireguard", "type_": 65534}, "wireguard"),
        ({"devtype": "wlan", "folder": "device"}, "wireless"),
        ({"type_": 778}, "tunnel"),
        ({"folder": "device"}, "ethernet"),
    ],
)
def test_other_kinds_are_known_by_type_and_driver(net, given, kind):
    net.add("x0", **given)
    assert net.find(x0=("10.0.0.5",))["x0"].kind == kind


def test_what_sysfs_does_not_say_is_not_guessed(net):
    net.add("eth0", folder="device", flags="?", carrier="", mtu="", speed="-1")
    found = net.find(eth0=("10.0.0.5",), gone=("10.0.0.6",), bare=())
    assert list(found) == ["eth0", "gone"]
    assert (found["eth0"].up, found["eth0"].carrier, found["eth0"].mtu, found["eth0"].speed) == (None, None, 0, 0)
    assert (found["gone"].kind, found["gone"].up, found["gone"].lower) == ("", None, ())


@pytest.mark.parametrize(
    ("address", "mask", "network"),
    [
        ("192.0.2.7", "255.255.255.0", "192.0.2.0/24"),
        ("10.8.0.1", "255.255.255.255", "10.8.0.1/32"),
        ("fd00::2", "ffff:ffff:ffff:ffff::", "fd00::/64"),
        ("10.0.0.1", "255.0.255.0", ""),
        ("10.0.0.1", "ffff::", ""),
        ("10.0.0.1", "", ""),
    ],
)
def test_an_address_and_a_mask_are_a_network(address, mask, network):
    assert network_of(address, mask) == network


@given(st.ip_addresses(), st.data())
def test_every_mask_of_leading_ones_gives_the_network_of_that_length(address, data):
    length = data.draw(st.integers(0, address.max_prefixlen))
    network = ipaddress.ip_network((address, length), strict=False)
    assert network_of(str(address), str(network.netmask)) == str(network)


@given(st.text(max_size=40), st.text(max_size=40))
def test_what_is_no_address_is_in_no_network(address, mask):
    found = network_of(address, mask)
    assert not found or ipaddress.ip_network(found)
