"""What differs between hosts refuses or is a note, as the table says; the odd ones out are named."""

import pytest

from madrun.node.joining.hostrules import RULES, compare, offset_notes

GIB = 1 << 30
OFFER = {
    "host_id": "a",
    "master": "10.0.0.1",
    "master_port": 29501,
    "local_data": False,
    "machine": "x86_64",
    "gpus": "8 x H200",
    "arch": "8 x sm_90",
    "partitions": "",
    "driver": "570",
    "stack": "12.8",
    "gpu_memory": 140 * GIB,
    "infiniband": 8,
    "engine": "docker 20",
    "python": "",
    "kernel": "6.1",
    "cpu": "x",
    "cpus": 64,
    "memory": 500 * GIB,
    "disks": {"results (/r)": [100 * GIB, 200 * GIB]},
    "uuids": [],
}


def found(nnodes=2, odd=1, **changes):
    offers = {rank: OFFER | {"host_id": str(rank)} for rank in range(nnodes)}
    offers[odd] = offers[odd] | changes
    return compare(offers, {rank: f"h{rank}" for rank in range(nnodes)})


def test_equal_hosts_pass_without_a_word():
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"master": "10.0.0.2"}, "MASTER_ADDR (as each node resolves it) differs: 10.0.0.1 on node 0, 10.0.0.2 on"),
        ({"master_port": 5}, "MASTER_PORT differs: 29501 on node 0, 5 on node 1 (h1)"),
        ({"local_data": True}, "--local-data differs: False on node 0, True on node 1 (h1)"),
        ({"machine": "aarch64"}, "architecture differs"),
        ({"gpus": "4 x H200"}, "GPUs of the job differs: 8 x H200 on node 0, 4 x H200 on node 1 (h1)"),
        ({"gpus": "8 x H100"}, "8 x H100 on node 1 (h1)"),
        ({"arch": "8 x sm_80"}, "GPU architecture differs"),
        ({"partitions": "7 x 1g.18gb"}, "(MIG) differs: none on node 0, 7 x 1g.18gb on node 1 (h1)"),
        ({"disks": {"results (/r)": [0, GIB]}}, "no disk space is left on node 1 (h1): results (/r)"),
    ],
)
def test_what_falsifies_a_number_refuses_with_both_values(changes, words):
    (finding,) = found(**changes)
    assert (finding.refuses, finding.node) == (True, 1)
    assert words in finding.text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"driver": "560"}, "GPU driver differs: 570 on node 0, 560 on node 1 (h1)"),
        ({"stack": "12.6"}, "ROCm or CUDA of the driver differs"),
        ({"gpu_memory": 80 * GIB}, "memory of the GPUs differs: 140 GiB on node 0, 80 GiB on node 1 (h1)"),
        ({"infiniband": 0}, "InfiniBand or RoCE devices differs: 8 on node 0, 0 on node 1 (h1)"),
        ({"engine": "podman 4"}, "container engine differs"),
        ({"kernel": "6.2"}, "kernel differs"),
        ({"cpu": "y"}, "CPU model differs"),
        ({"cpus": 32}, "CPUs differs"),
        ({"memory": 250 * GIB}, "memory differs: 500 GiB on node 0, 250 GiB on node 1 (h1)"),
        (
            {"disks": {"results (/r)": [GIB // 2, 2 * GIB]}},
            "little disk space on node 1 (h1): results (/r) has 512 MiB",
        ),
        ({"disks": {"docker's files (/d)": [0, GIB]}}, "no disk space is left on node 1 (h1): docker's files"),
    ],
)
def test_other_differences_are_notes_with_both_values(changes, words):
    (finding,) = found(**changes)
    assert not finding.refuses
    assert words in finding.text


def test_memory_that_differs_by_what_firmware_takes_is_no_difference():
    assert found(memory=499 * GIB, gpu_memory=139 * GIB) == []


def test_of_many_nodes_the_odd_one_is_named_and_the_others_are_counted():
    (finding,) = found(8, 3, driver="560")
    assert finding.text == "GPU driver differs: 570 on 7 nodes (0-2, 4-7), 560 on node 3 (h3)"
    assert finding.node == 3


def test_every_node_its_own_value_stays_one_line():
    offers = {rank: OFFER | {"kernel": f"6.{rank}"} for rank in range(1000)}
    (finding,) = compare(offers, dict.fromkeys(offers, "h"))
    assert len(finding.text) < 400


def test_loopback_is_right_on_one_host_and_wrong_from_another():
    here = {rank: OFFER | {"master": "127.0.0.1", "host_id": "a"} for rank in (0, 1)}
    assert compare(here, {0: "h0", 1: "h1"}) == []
    apart = {**here, 1: here[1] | {"host_id": "b"}}
    (finding,) = compare(apart, {0: "h0", 1: "h1"})
    assert finding.refuses
    assert "MASTER_ADDR is this very machine: 127.0.0.1 on node 1 (h1)" in finding.text


def test_two_nodes_on_the_same_gpus_are_told_of_it():
    offers = {rank: OFFER | {"uuids": ["GPU-1"], "host_id": "a"} for rank in (0, 1)}
    (finding,) = compare(offers, {0: "h", 1: "h"})
    assert (finding.refuses, "use the same GPUs" in finding.text) == (False, True)


def test_two_hosts_of_one_name_are_told_apart_by_rank():
    offers = {rank: OFFER | {"host_id": str(rank)} for rank in (0, 1)}
    (finding,) = compare(offers, {0: "h", 1: "h"})
    assert finding.text.startswith("2 hosts have the one name h")


@pytest.mark.parametrize(
    ("offset", "words"), [(0.9, None), (-1.0, None), (None, None), (90.04, "90.0 s ahead of"), (-2.5, "2.5 s behind")]
)
def test_a_clock_is_told_of_beyond_a_second(offset, words):
    notes = offset_notes({0: 0.0, 1: offset}, {1: "h1"})
    assert len(notes) == (words is not None)
    assert all(f"the clock of node 1 (h1) is {words}" in note for note in notes)


@pytest.mark.parametrize(
    ("networks", "text"),
    [
        (("10.0.0.0/24", "10.0.0.0/24"), ""),
        (("10.0.0.0/24", "10.0.0.0/16"), ""),
        (("10.0.0.0/24", ""), ""),
        (("10.128.0.2/32", "10.128.0.7/32"), ""),
        (("10.0.0.0/24", "10.0.1.0/24"), "10.0.0.0/24 on node 0, 10.0.1.0/24 on node 1 (h1); packets go by a router"),
        (("10.0.0.0/24", "fd00::/64", "10.0.0.0/16"), "10.0.0.0/16 on node 0, node 2 (h2), fd00::/64 on node 1 (h1)"),
    ],
)
def test_interfaces_in_networks_with_nothing_in_common_are_a_note(networks, text):
    offers = {rank: OFFER | {"network": network, "host_id": str(rank)} for rank, network in enumerate(networks)}
    findings = compare(offers, {rank: f"h{rank}" for rank in offers})
    assert [(one.refuses, one.node) for one in findings] == ([(False, 1)] if text else [])
    assert all(one.text.startswith(f"network of the chosen interface differs: {text}") for one in findings)


def test_no_rule_is_there_twice():
    assert len({rule.key for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(("transport", "refuses"), [("rdma", True), ("auto", False)])
def test_rdma_ports_that_differ_refuse_where_rdma_was_asked_for(transport, refuses):
    offer = {"rdma": "7 x infiniband 400 Gb/s", "transport": transport}
    (finding,) = found(**offer)
    assert (finding.refuses, finding.node) == (refuses, 1)
    assert (
        "RDMA ports that carry the job differ: none on node 0, 7 x infiniband 400 Gb/s on node 1 (h1)" in finding.text
    )
