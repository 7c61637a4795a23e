"""Device files for RDMA, and the adapters as sysfs shows them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdma_tree import LINK_LOCAL, RdmaTree, eight_and_eight, mapped

from madrun.probe.adapters import parse_gid, parse_rate, parse_word
from madrun.probe.fabric import bridges_above, find_hcas, infiniband_devices
from madrun.spec.fabric import EFA, INFINIBAND, IWARP, ROCE


@pytest.fixture
def tree(tmp_path):
    return RdmaTree(tmp_path)


def test_the_device_files_are_sorted_and_folders_left_out(tmp_path):
    folder = tmp_path / "dev/infiniband"
    (folder / "by-path").mkdir(parents=True)
    for name in ("uverbs1", "rdma_cm", "uverbs0", "umad0"):
        (folder / name).touch()
    assert infiniband_devices(tmp_path) == (
        "/dev/infiniband/rdma_cm",
        "/dev/infiniband/umad0",
        "/dev/infiniband/uverbs0",
        "/dev/infiniband/uverbs1",
    )


def test_a_host_without_rdma_has_none(tmp_path):
    assert infiniband_devices(tmp_path) == ()
    assert find_hcas(tmp_path) == ()


def test_an_infiniband_adapter_is_read_with_its_port_and_place(tree):
    tree.infiniband("mlx5_0", "pci0000:17/0000:17:01.0/0000:18:00.0/0000:19:01.0/0000:1a:00.0", numa=1)
    (hca,) = find_hcas(tree.root)
    assert (hca.driver, hca.vendor, hca.device, hca.numa) == ("mlx5_core", "0x15b3", "0x1021", 1)
    assert (hca.firmware, hca.board, hca.model, hca.node_type) == ("28.39.1002", "MT_0000000838", "MT4129", "CA")
    assert hca.node_guid == "0c42:a103:00aa:bb01"
    assert (hca.bus, hca.bridges) == (
        "0000:1a:00.0",
        ("pci0000:17", "0000:17:01.0", "0000:18:00.0", "0000:19:01.0"),
    )
    (port,) = hca.ports
    assert (port.number, port.state, port.phys_state, port.link_layer) == (1, "ACTIVE", "LinkUp", "InfiniBand")
    assert (port.rate, port.lanes, port.lid, port.up) == (400.0, "4X NDR", 42, True)
    assert [gid.address for gid in port.gids] == ["fe80::ff:fe00:7"]
    assert hca.kind(port) == INFINIBAND


def test_a_bonded_roce_adapter_has_the_interface_of_its_addresses_and_not_that_of_its_hardware(tree):
    tree.roce("mlx5_bond_0", "pci0000:17/0000:17:01.0/0000:18:00.0", "bond0", "10.0.0.5")
    tree.write("sys/class/infiniband/mlx5_bond_0/device/net/ens1f0np0/dev_port", 0)
    tree.default_route("bond0.100", "bond0")
    (hca,) = find_hcas(tree.root)
    (port,) = hca.ports
    assert (port.netdev, port.default_route, hca.kind(port)) == ("bond0", True, ROCE)
    assert [(gid.index, gid.address, gid.kind) for gid in port.gids] == [
        (0, "fe80::ff:fe00:9", "IB/RoCE v1"),
        (1, "fe80::ff:fe00:9", "RoCE v2"),
        (2, "::ffff:10.0.0.5", "IB/RoCE v1"),
        (3, "::ffff:10.0.0.5", "RoCE v2"),
    ]


def test_a_default_route_of_ipv6_counts_and_the_unreachable_one_on_loopback_does_not(tree):
    tree.roce("mlx5_0", "pci0000:17/0000:17:01.0/0000:18:00.0", "eth7")
    zero = "0" * 32
    rows = [f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo"]
    tree.write("proc/net/ipv6_route", "\n".join(rows))
    assert not find_hcas(tree.root)[0].ports[0].default_route
    rows.append(f"{zero} 00 {zero} 00 {LINK_LOCAL.format(1).replace(':', '')} 00000400 00000001 0 00000003 eth7")
    tree.write("proc/net/ipv6_route", "\n".join(rows))
    assert find_hcas(tree.root)[0].ports[0].default_route


@pytest.mark.parametrize("driver", ["bnxt_en", "ionic", "ice"])
def test_roce_adapters_of_other_makers_are_read_the_same_way(tree, driver):
    tree.roce("rdma0", "pci0000:17/0000:17:01.0/0000:18:00.0", "eth3", "10.0.3.5", driver=driver)
    (hca,) = find_hcas(tree.root)
    (port,) = hca.ports
    assert (hca.driver, hca.kind(port), port.netdev) == (driver, ROCE, "eth3")
    assert [gid.address for gid in port.gids if gid.kind == "RoCE v2"] == ["fe80::ff:fe00:9", "::ffff:10.0.3.5"]


def test_iwarp_and_efa_are_told_from_roce(tree):
    tree.hca("irdma0", "pci0000:17/0000:18:00.0", "ice", "0x8086", "0x1592", node_type="4: RNIC")
    tree.port("irdma0", layer="Ethernet")
    tree.hca("rdmap1s0", "pci0000:17/0000:19:00.0", "efa", "0x1d0f", "0xefa2", node_type="7: unspecified")
    tree.port("rdmap1s0", layer="Unknown", rate="100 Gb/sec (4X EDR)")
    found = {hca.name: hca.kind(hca.ports[0]) for hca in find_hcas(tree.root)}
    assert found == {"irdma0": IWARP, "rdmap1s0": EFA}


def test_adapters_are_in_the_order_of_their_numbers_and_two_ports_of_one_are_told_apart(tree):
    for name in ("mlx5_10", "mlx5_2"):
        tree.infiniband(name, f"pci0000:17/0000:{name[5:]:0>2}:00.0")
    tree.port("mlx5_2", number=2, state="2: INIT")
    two, ten = find_hcas(tree.root)
    assert (two.name, ten.name) == ("mlx5_2", "mlx5_10")
    assert [(port.number, port.up) for port in two.ports] == [(1, True), (2, False)]


def test_the_interface_of_a_port_without_addresses_is_that_with_its_number(tree):
    tree.hca("mlx4_0", "pci0000:17/0000:18:00.0", "mlx4_core", "0x15b3", "0x1003")
    for number in (1, 2):
        tree.port("mlx4_0", number=number, layer="Ethernet")
        tree.write(f"sys/class/infiniband/mlx4_0/device/net/ens1d{number}/dev_port", number - 1)
    assert [port.netdev for port in find_hcas(tree.root)[0].ports] == ["ens1d1", "ens1d2"]


def test_a_copy_of_plain_folders_is_read_too(tmp_path):
    tree = RdmaTree(tmp_path, plain=True)
    tree.infiniband("mlx5_0", "pci0000:17/0000:17:01.0/0000:1a:00.0")
    (hca,) = find_hcas(tmp_path)
    assert (hca.bus, hca.driver, hca.numa, hca.bridges) == ("0000:1a:00.0", "mlx5_core", 0, ())
    assert hca.ports[0].up


def test_addresses_behind_a_gap_in_the_table_are_found(tree):
    tree.hca("mlx5_0", "pci0000:17/0000:18:00.0", "mlx5_core", "0x15b3", "0x1021")
    tree.port("mlx5_0", layer="Ethernet", gids=[(29, mapped("10.0.0.9"), "RoCE v2", "eth1")])
    assert [gid.index for gid in find_hcas(tree.root)[0].ports[0].gids] == [29]


def test_what_cannot_be_read_stays_unknown_and_is_not_up(tree):
    (tree.root / "sys/class/infiniband/mlx5_0/ports/1").mkdir(parents=True)
    (hca,) = find_hcas(tree.root)
    (port,) = hca.ports
    assert (hca.driver, hca.vendor, hca.bus, hca.numa, hca.bridges) == ("", "", "", None, ())
    assert (port.state, port.link_layer, port.rate, port.lid, port.gids, port.netdev) == ("", "", None, None, (), "")
    assert (port.up, hca.kind(port)) == (False, "")


def test_a_numa_node_that_the_firmware_does_not_name_is_unknown(tree):
    tree.infiniband("mlx5_0", "pci0000:17/0000:18:00.0", numa=-1)
    assert find_hcas(tree.root)[0].numa is None


def test_bridges_above_a_gpu_are_those_of_the_kernels_tree(tree):
    buses = eight_and_eight(tree)
    above = bridges_above([*buses, "0000:ff:00.0", ""], tree.root)
    assert list(above) == buses
    assert above[buses[0]] == ("pci0000:01", "0000:01:01.0", "0000:10:00.0", "0000:30:00.0")


@pytest.mark.parametrize(
    ("text", "rate", "lanes"),
    [
        ("400 Gb/sec (4X NDR)", 400, "4X NDR"),
        ("200 Gb/sec (4X HDR)", 200, "4X HDR"),
        ("2.5 Gb/sec (1X SDR)", 2.5, "1X SDR"),
        ("800 Gb/sec (4X XDR)", 800, "4X XDR"),
        ("10 Gb/sec (4X)", 10, "4X"),
        ("25 Gb/sec", 25, ""),
        ("", None, ""),
        ("fast", None, ""),
        ("-1 Gb/sec (4X NDR)", None, ""),
    ],
)
def test_rates_are_read_as_the_kernel_prints_them(text, rate, lanes):
    assert parse_rate(text) == (rate, lanes)


@given(st.integers(1, 16000), st.booleans(), st.sampled_from(["SDR", "EDR", "HDR", "NDR", "XDR"]), st.integers(1, 12))
def test_every_rate_that_the_kernel_can_print_is_read(whole, half, speed, lanes):
    text = f"{whole}{'.5' if half else ''} Gb/sec ({lanes}X {speed})\n"
    assert parse_rate(text) == (whole + 0.5 * half, f"{lanes}X {speed}")


@given(st.text())
def test_no_text_breaks_a_parser_and_what_is_read_is_of_its_form(text):
    rate, lanes = parse_rate(text)
    assert (rate is None or rate >= 0) and (rate is not None or not lanes)
    assert parse_word(text) == "" or ":" in text
    assert parse_gid(text) == "" or re.fullmatch(r"[0-9a-f:.%]+.*", parse_gid(text))


@given(st.integers(0, 9), st.sampled_from(["NOP", "DOWN", "INIT", "ARMED", "ACTIVE", "LinkUp", "Disabled"]))
def test_words_come_without_their_numbers(number, word):
    assert parse_word(f"{number}: {word}\n") == word
    assert parse_word(f"{number}: <unknown>\n") == ""


@given(st.integers(1 << 64, (1 << 128) - 1), st.ip_addresses(v=4))
def test_gids_are_read_back_and_ipv4_ones_are_recognised(number, address):
    words = [f"{number >> shift & 0xFFFF:04x}" for shift in range(112, -1, -16)]
    found = parse_gid(":".join(words) + "\n")
    assert (found == "") == (number & (1 << 64) - 1 == 0)
    assert parse_gid(mapped(str(address))) == f"::ffff:{address}"


@pytest.mark.parametrize(
    "text", ["", "0000:0000:0000:0000:0000:0000:0000:0000", "fe80:0000:0000:0000:0000:0000:0000:0000"]
)
def test_an_unused_entry_is_no_address(text):
    assert parse_gid(text) == ""
