"""What NCCL and RCCL say, by lines of real logs (in nccl_logs/, the first line says whose) and of the same format."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.results.nccl.bounded import Smallest
from madrun.results.nccl.listening import Listening
from madrun.results.nccl.processes import kind_of
from madrun.results.nccl.reading import heard_in
from madrun.spec.codec import from_plain, to_plain
from madrun.spec.transport import NodeTransport

LOGS = Path(__file__).parent / "nccl_logs"
EXPECTED = {
    "nccl_2.4.7_ib": {"networks": ["IB"], "version": "2.4.7+cuda10.0", "hcas": ("mlx5_0:1/IB",), "oob": ("ib0",)},
    "nccl_2.19.3_roce": {
        "networks": ["IB"],
        "version": "2.19.3+cuda12.3",
        "hcas": ("mlx5_10:1/RoCE", "mlx5_11:1/RoCE"),
        "oob": ("enp220s0np0",),
        "hosts": ("alpha", "beta"),
    },
    "nccl_2.22.3_ibext": {
        "networks": ["IBext_v8"],
        "hcas": tuple(f"mlx5_{number}:1/RoCE" for number in range(8)),
        "oob": ("eth0",),
        "paths": {"P2P/CUMEM": 1},
    },
    "nccl_sharp": {"networks": ["IB", "IBext_v8"], "hcas": tuple(f"mlx5_{n}:1/IB" for n in (0, 2, 4, 6, 8, 9))},
    "nccl_a100_channels": {"networks": ["IB"], "gdr": "yes", "paths": {"NET/IB/GDRDMA": 2}},
    "nccl_sockets": {"networks": ["Socket"], "interfaces": ("enp1s0",), "hints": ("NET/IB : No device found.",)},
    "nccl_one_node_on_sockets": {
        "networks": ["IB", "Socket"],
        "interfaces": ("ib0", "ib2", "ibs102f0", "ibs85f0"),
        "hints": ("NET/IB : No device found.",),
    },
    "nccl_old_rings": {"networks": ["Socket"], "gdr": "no", "paths": {"NET/Socket": 1}},
    "ofi_efa": {
        "networks": ["Libfabric"],
        "plugins": ("libfabric provider efa",),
        "settings": {"NCCL_SOCKET_IFNAME": "eth0"},
    },
    "ofi_old_tagged": {
        "networks": ["AWS Libfabric"],
        "hosts": ("ip-10-1-36-209", "ip-10-1-45-165"),
        "warnings": ("NET/OFI Couldn't open AV. RC: -22, ERROR: Invalid argument",),
    },
    "rccl_2.21.5_sockets": {
        "library": "RCCL",
        "version": "2.21.5-HEAD:9a0e6a1",
        "networks": ["Socket"],
        "interfaces": ("eno2np1",),
        "hints": ("Failed to open libibverbs.so[.1]",),
    },
    "rccl_2021_ib": {"networks": ["IB"], "hcas": tuple(f"mlx5_{number}:1/IB" for number in range(4)), "oob": ("ib0",)},
    "rccl_2.30.4": {"library": "RCCL", "version": "2.30.4-HEAD:2b22ab0", "networks": [], "oob": ("eth0",)},
}
SAID = [line for log in sorted(LOGS.iterdir()) for line in log.read_text().splitlines()]


def heard(*lines: str) -> NodeTransport:
    listening = Listening()
    for line in lines:
        listening.take(line)
    return listening.heard


def info(body: str, pid: int = 7) -> str:
    return f"alpha:{pid}:9 [0] NCCL INFO {body}"


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_log_says_what_was_used(name):
    transport = heard_in([LOGS / f"{name}.log"])
    expected = dict(EXPECTED[name])
    assert [network.name for network in transport.networks] == expected.pop("networks")
    assert {key: getattr(transport, key) for key in expected} == expected


def test_every_recorded_log_is_tested():
    assert {log.stem for log in LOGS.iterdir()} == set(EXPECTED)


@given(st.permutations(SAID))
@settings(max_examples=20)
def test_the_order_of_the_lines_does_not_matter(lines):
    assert heard(*lines) == heard(*SAID)


@given(st.lists(st.one_of(st.text(), st.sampled_from(SAID), st.sampled_from(SAID).map(lambda line: line[7:60]))))
def test_whatever_stands_in_a_log_the_words_are_small_and_survive_being_written(lines):
    transport = heard(*lines, "".join(lines))
    assert len(transport.warnings) <= 10
    assert from_plain(NodeTransport, to_plain(transport)) == transport


def test_ranks_that_cut_into_each_others_lines_are_both_heard():
    transport = heard(info("Using network IB ") + info("Using network Socket", pid=8))
    assert [(network.name, network.processes) for network in transport.networks] == [("IB", 1), ("Socket", 1)]


def test_what_others_print_about_networks_is_not_taken_for_nccls_word():
    assert (
        heard("Using network Socket", "NCCL is great via NET/IB/0", "x NET/IB : Using [0]mlx5_0:1/IB CCL")
        == NodeTransport()
    )


@pytest.mark.parametrize(
    ("body", "key", "value"),
    [
        ("Channel 00/0 : 8[0] -> 0[0] [receive] via NET/IB/0/GDRDMA", "paths", {"NET/IB/GDRDMA": 1}),
        ("Channel 00/0 : 8[0] -> 0[0] [send] via NET/IB/0(8)/GDRDMA/Shared", "paths", {"NET/IB/GDRDMA": 1}),
        ("Channel 03/0 : 8[0] -> 0[0] [send] via NET/Socket/1", "paths", {"NET/Socket": 1}),
        ("CollNet 00/0 : 0 [send] via COLLNET/SHARP/0/GDRDMA", "paths", {"COLLNET/SHARP/GDRDMA": 1}),
        ("Channel 00 : 0[0] -> 1[1] via SHM/direct/direct", "paths", {"SHM": 1}),
        ("Channel 00/0 : 0[0] -> 1[1] via P2P/direct pointer", "paths", {"P2P/direct": 1}),
        (
            "16 coll channels, 0 collnet channels, 16 nvls channels, 32 p2p channels, 2 p2p channels per peer",
            "channels",
            16,
        ),
        ("NET/IB : GPU Direct RDMA (DMABUF) enabled for HCA 0 'mlx5_0'", "gdr", "yes"),
        ("NET/IB : GPU Direct RDMA Disabled for HCA 0 'mlx5_0'", "gdr", "no"),
        ("Bootstrap: Using eth0:fe80::1%eth0<0>", "oob", ("eth0",)),
        ("NET/Socket: Using 4 threads and 8 sockets per thread", "interfaces", ()),
        ("NCCL_SOCKET_IFNAME set by environment to =eth0", "settings", {"NCCL_SOCKET_IFNAME": "=eth0"}),
        ("NCCL_IB_DISABLE set by environment to 1.", "hints", ("NCCL_IB_DISABLE set by environment to 1",)),
        ("NCCL_IB_DISABLE set by environment to 0.", "hints", ()),
        ("NET/OFI Initializing aws-ofi-nccl 1.7.4-aws", "plugins", ("aws-ofi-nccl 1.7.4-aws",)),
    ],
)
def test_lines_of_the_formats_in_the_sources_are_understood(body, key, value):
    assert getattr(heard(info(body)), key) == value


def test_newer_releases_say_the_network_as_the_plugin_that_a_communicator_got():
    (network,) = heard(info("Assigned NET plugin IB to comm")).networks
    assert (network.name, network.kind) == ("IB", "rdma")


def test_a_connection_counts_more_than_the_choice_and_the_choice_more_than_what_was_found():
    found, chosen = info("NET/Socket : Using [0]eth0:10.0.0.1<0>"), info("Using network IB")
    connected = info("Channel 00/0 : 1[0] -> 0[0] [send] via NET/IBext_v8/0")
    names = [[network.name for network in heard(*lines).networks] for lines in ((found,), (found, chosen))]
    assert names == [["Socket"], ["IB"]]
    assert [network.name for network in heard(found, chosen, connected).networks] == ["IBext_v8"]


def test_ranks_are_those_of_the_greatest_communicator():
    lines = [
        info(f"comm 0x1 rank {rank} nranks {size} cudaDev 0 busId 1 - Init COMPLETE", pid=pid)
        for pid, rank, size in ((1, 8, 16), (1, 0, 2), (2, 9, 16), (2, 1, 2))
    ]
    transport = heard(*lines, info("Using network Socket", pid=1), info("Using network IB", pid=2))
    assert [(network.name, network.ranks) for network in transport.networks] == [("IB", (9,)), ("Socket", (8,))]


def test_processes_without_end_are_counted_to_a_bound(monkeypatch):
    monkeypatch.setattr("madrun.results.nccl.processes._MOST_PROCESSES", 8)
    lines = [info("Using network IB", pid=pid) for pid in range(100)]
    assert heard(*lines) == heard(*reversed(lines))
    assert heard(*lines).networks[0].processes == 8


@given(st.lists(st.integers(0, 20)), st.integers(1, 5))
def test_the_smallest_values_are_kept_with_all_their_counts(values, most):
    kept = Smallest[int](most)
    for value in values:
        kept.add(value)
    assert kept.counts() == {value: values.count(value) for value in sorted(set(values))[:most]}


@pytest.mark.parametrize(
    ("name", "providers", "kind"),
    [
        ("Socket", (), "sockets"),
        ("IBext_v8", (), "rdma"),
        ("RCCL-ANP", (), "rdma"),
        ("ROCM-IB", (), "rdma"),
        ("IB-CAST", (), "rdma"),
        ("FastSocket", (), "sockets"),
        ("AWS Libfabric", ("efa",), "rdma"),
        ("AWS Libfabric", ("tcp;ofi_rxm",), "sockets"),
        ("Libfabric", (), ""),
        ("UCX", (), ""),
    ],
)
def test_a_plugin_is_rdma_only_where_it_must_be(name, providers, kind):
    assert kind_of(name, providers) == kind


def test_a_file_is_read_to_a_bound_and_one_that_is_none_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("madrun.results.nccl.reading.MOST_READ", 100)
    log = tmp_path / "a.log"
    log.write_text(info("Using network IB") + "\n" + "." * 100 + "\n" + info("Using network Socket") + "\n")
    transport = heard_in([log, tmp_path, tmp_path / "absent"])
    assert [network.name for network in transport.networks] == ["IB"]
