"""What was used held against what was asked for: RDMA that was sockets is no success, whatever was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from madrun.results.nccl.reading import heard_in
from madrun.results.transport import judge_transport
from madrun.results.transporttext import adapters
from madrun.results.verdict import RunFacts, judge
from madrun.spec.card import Metric
from madrun.spec.codec import from_plain, to_plain
from madrun.spec.record import Failure, NodeOutcome, Record, Sample
from madrun.spec.transport import Moved, Network, NodeTransport, names_interface

LOGS = Path(__file__).parent / "nccl_logs"
SOCKETS = replace(heard_in([LOGS / "nccl_sockets.log"]), asked_interface="=enp1s0", library="NCCL", version="2.19.3")
IB = replace(
    heard_in([LOGS / "nccl_2.19.3_roce.log"]), asked_interface="=enp220s0np0", hosts=("alpha",), gdr="yes", channels=16
)
AT_HAND = tuple(f"mlx5_{number}:1" for number in range(8))
GIB = 1 << 30


def node(number: int, transport: NodeTransport | None, **more: object) -> NodeOutcome:
    sample = Sample(node=number, metric="tok", value=7.0, text="7", source="console.log:1")
    name = ("alpha", "beta", "gamma")[number]
    values = {"exit_code": 0, "end_marker": True, "samples": (sample,), "transport": transport} | more
    return NodeOutcome(node=number, hostname=name, **values)


@pytest.fixture
def judged(make_job):
    def run(*transports, asked="rdma", ended_well=True, job=None, **more):
        outcomes = [node(number, transport, **more) for number, transport in enumerate(transports)]
        return judge_transport(make_job(nnodes=len(outcomes), transport=asked, **(job or {})), outcomes, ended_well)

    return run


def failed(found) -> list[str]:
    return [check.text for check in found.checks if not check.passed]


def test_a_run_that_asked_for_rdma_and_used_sockets_is_invalid(make_test_plan, make_job):
    facts = RunFacts(run_id="r", started_at="", ended_at="", command=(), backend="local", notes=(), provenance={})
    plan = make_test_plan(make_job(nnodes=2, transport="rdma", metrics={"tok": Metric(across_nodes="max")}))
    record = judge(plan, facts, [node(0, IB), node(1, SOCKETS)], None)
    assert (record.status, record.valid, record.exit_code) == ("FAILURE", False, 3)
    (reason,) = record.reasons
    assert reason.startswith(
        "node 1 (beta): TRANSPORT rdma was asked for, and NCCL 2.19.3 used NET/Socket on enp1s0 "
        "(NET/IB : No device found); see that /dev/infiniband is in the container"
    )
    assert record.transport is not None
    plain = to_plain(record)
    assert from_plain(Record, plain) == record
    earlier = {key: value for key, value in plain.items() if key != "transport"}  # as records of earlier versions
    assert from_plain(Record, earlier | {"nodes": []}) == replace(record, transport=None, nodes=())


def test_rdma_on_all_nodes_is_a_check_that_passes(judged):
    found = judged(IB, IB)
    assert [(check.passed, check.name) for check in found.checks] == [(True, "transport is rdma, as asked for")]
    text = "NCCL 2.19.3+cuda12.3, NET/IB on mlx5_10, mlx5_11, GDR, 16 channels"
    assert found.transport is not None
    assert (found.transport.text, found.transport.differs, found.notes) == (text, (), ())


@pytest.mark.parametrize(
    ("transport", "words"),
    [
        (None, "no line of NCCL or RCCL names a network, and no RDMA port could be counted"),
        (NodeTransport(rdma_bytes=12 << 10), "its RDMA ports moved 12 KiB"),
        (NodeTransport(networks=(Network(name="UCX"),), rdma_bytes=0), "NCCL used NET/UCX which may be either"),
    ],
)
def test_rdma_that_nothing_shows_is_invalid_in_a_run_that_ended_well(judged, transport, words):
    (reason,) = failed(judged(transport, transport))
    assert reason.startswith("node 0 (alpha), node 1 (beta): TRANSPORT rdma was asked for, and nothing shows it: ")
    assert words in reason
    assert reason.endswith("Gloo, which has sockets alone: give TRANSPORT auto, or RUNNER mpirun with UCX")
    for job in ({"vendor": "amd"}, {"runner": "mpirun"}):
        assert failed(judged(transport, transport, job=job))[0].endswith(
            "NCCL_DEBUG, NCCL_DEBUG_SUBSYS or NCCL_DEBUG_FILE"
        )
    assert judged(transport, transport, ended_well=False).checks == ()


def test_counters_that_moved_are_enough_and_are_said_to_be_all_there_is(judged):
    found = judged(IB, NodeTransport(rdma_bytes=3 * GIB))
    assert not failed(found)
    (note,) = found.notes
    assert note.startswith(
        "node 1 (beta): that RDMA was used is known by the counters alone: its RDMA ports moved 3 GiB"
    )


@pytest.mark.parametrize(("carried", "shown"), [(GIB, True), (40 * GIB, False)])
def test_ports_that_moved_far_less_than_the_ranks_interface_show_no_rdma(judged, carried, shown):
    moved = {"ib0": Moved(sent=carried), "eth9": Moved(sent=900 * GIB)}  # IPoIB leaves some percent on the port
    found = judged(IB, NodeTransport(rdma_bytes=2 * GIB, asked_interface="=ib0", bytes=moved))
    assert bool(failed(found)) != shown
    assert any("known by the counters alone" in note for note in found.notes) == shown
    words = "its RDMA ports moved 2 GiB, as storage or management may, and the interface of the ranks 40 GiB"
    assert all(words in reason for reason in failed(found))


def test_a_plugin_that_may_be_either_is_a_note_where_no_port_can_be_counted(judged):
    found = judged(*[NodeTransport(networks=(Network(name="UCX"),))] * 2)
    assert not failed(found)
    assert "whether that is RDMA is not known" in found.notes[0]


def test_one_log_that_has_the_words_of_all_hosts_speaks_for_all(judged):
    assert not failed(judged(replace(IB, hosts=("alpha", "beta")), None))
    assert failed(judged(replace(IB, hosts=("alpha", "beta")), None, None))


def test_sockets_as_asked_pass_and_rdma_does_not(judged):
    assert not failed(judged(SOCKETS, SOCKETS, asked="sockets"))
    (reason,) = failed(judged(SOCKETS, IB, asked="sockets"))
    assert reason.startswith("node 1 (beta): TRANSPORT sockets was asked for, and NCCL 2.19.3+cuda12.3 used NET/IB on")


def test_sockets_beside_adapters_fit_for_rdma_are_a_warning_where_nothing_was_asked(judged):
    missed = replace(SOCKETS, at_hand=AT_HAND)
    found = judged(missed, missed, asked="auto")
    assert found.checks == ()
    (warning,) = found.transport.warnings
    assert "node 0 (alpha), node 1 (beta): NCCL 2.19.3 used NET/Socket on enp1s0 though mlx5_0..mlx5_7 are" in warning
    assert not judged(SOCKETS, SOCKETS, asked="auto").transport.warnings
    assert not judged(*[replace(IB, at_hand=AT_HAND)] * 2, asked="auto").transport.warnings


def test_adapters_that_the_plan_left_out_are_named(judged):
    found = judged(IB, replace(IB, at_hand=("mlx5_10:1",)))
    assert found.notes == ("node 1 (beta): NCCL used mlx5_11 beside the ports of the plan, mlx5_10",)
    direct = replace(IB, hcas=("mlx5_0_dma:1/RoCE",), at_hand=("mlx5_0:1",))
    assert judged(direct, direct).notes == ()


def test_another_interface_than_planned_is_invalid_whatever_was_asked(judged):
    for asked in ("auto", "rdma", "sockets"):
        (reason,) = failed(judged(SOCKETS, replace(SOCKETS, asked_interface="=eth1"), asked=asked))[-1:]
        assert "node 1 (beta): the plan has NCCL_SOCKET_IFNAME '=eth1', and NCCL used enp1s0" in reason


def test_an_interface_that_only_made_connections_is_a_note(judged):
    """Its bytes are no part of the number; NCCL 2.4 names the sockets' interfaces also where it uses IB."""
    for transport in (replace(IB, asked_interface="=eth1"), replace(SOCKETS, oob=("eth7",))):
        found = judged(transport, transport, asked="auto")
        assert not failed(found)
        assert "to make its connections; see who sets it otherwise" in found.notes[0]
    old = replace(IB, asked_interface="=enp220s0np0", interfaces=("ib0",))
    assert (failed(judged(old, old)), judged(old, old).notes) == ([], ())


def test_one_rank_on_sockets_beside_others_on_rdma_is_a_warning_too(judged):
    networks = (Network(name="IB", kind="rdma", ranks=(1, 2)), Network(name="Socket", kind="sockets", ranks=(0,)))
    mixed = replace(SOCKETS, networks=networks, at_hand=AT_HAND)
    (warning,) = judged(mixed, mixed, asked="auto").transport.warnings
    assert "used NET/Socket on enp1s0 (ranks 0) though mlx5_0..mlx5_7 are fit for RDMA" in warning


def test_connections_without_gpu_direct_on_one_node_are_a_fault_where_it_has_none_at_all(judged):
    assert not failed(judged(IB, replace(IB, gdr="partly")))
    (reason,) = failed(judged(IB, replace(IB, gdr="no")))
    assert reason == "the nodes differ in GPU Direct RDMA: yes on node 0 (alpha); no on node 1 (beta)"


def test_nodes_that_differ_are_invalid_with_rdma_and_a_note_without(judged):
    other = replace(IB, networks=(Network(name="IBext_v8", kind="rdma"),))
    (reason,) = failed(judged(IB, other))
    assert reason == "the nodes differ in network: NET/IB on node 0 (alpha); NET/IBext_v8 on node 1 (beta)"
    found = judged(IB, other, asked="auto")
    assert (failed(found), found.notes) == ([], (reason,))
    newer = judged(IB, replace(IB, version="2.28.9"))
    assert not failed(newer)
    assert newer.notes[0].startswith("the nodes differ in version: NCCL 2.19.3+cuda12.3 on node 0")


def test_rdma_that_goes_through_the_hosts_memory_is_a_note(judged):
    (note,) = judged(*[replace(IB, gdr="no")] * 2).notes
    assert "NET/IB on mlx5_10, mlx5_11 without GPU Direct RDMA: all bytes go through the host's memory" in note
    assert not judged(*[replace(SOCKETS, gdr="no")] * 2, asked="sockets").notes


def test_an_interface_that_carried_much_more_than_the_planned_one_is_named(judged):
    bytes_moved = {"eth0": Moved(received=GIB >> 10, sent=5), "eth1": Moved(received=9, sent=31 * GIB)}
    counted = NodeTransport(asked_interface="=eth0", bytes=bytes_moved)
    found = judged(counted, counted, asked="auto")
    assert "eth0, which the ranks were given, carried 1 MiB, and eth1 31 GiB" in found.notes[0]
    assert found.transport.text == "eth1 31 GiB, eth0 1 MiB"
    shared = replace(counted, bytes={"bond0": Moved(sent=GIB), "eth1": Moved(sent=GIB)}, asked_interface="=bond0")
    assert not judged(shared, shared, asked="auto").notes


def test_on_one_node_only_the_summary_is_kept(judged):
    alone = replace(SOCKETS, asked_interface="=lo", paths={"P2P/CUMEM": 16, "SHM": 2})
    found = judged(alone)
    assert (found.checks, found.notes) == ((), ())
    assert found.transport.text == "NCCL 2.19.3, P2P/CUMEM, SHM"
    assert judged(None).transport is None


def test_a_run_that_failed_keeps_its_cause_first(make_test_plan, make_job):
    facts = RunFacts(run_id="r", started_at="", ended_at="", command=(), backend="local", notes=(), provenance={})
    culprit = Failure(kind="script error", text="exit code 3 on node 0", node=0)
    plan = make_test_plan(make_job(nnodes=2, transport="rdma"))
    record = judge(plan, facts, [node(0, SOCKETS), node(1, None)], culprit)
    assert record.reasons[0].startswith("script error")
    assert any("TRANSPORT rdma" in reason for reason in record.reasons[1:])


@pytest.mark.parametrize(
    ("asked", "name", "allowed"),
    [
        ("=eth0", "eth0", True),
        ("=eth0", "eth01", False),
        ("eth", "eth01", True),
        ("eth0,ib", "ib3", True),
        ("^docker,lo", "eth0", True),
        ("^docker,lo", "docker0", False),
        ("^=docker0", "docker01", True),
        ("=eth0:50000", "eth0", True),
        ("", "anything", True),
    ],
)
def test_the_words_of_nccl_socket_ifname_mean_what_nccl_says(asked, name, allowed):
    assert names_interface(asked, name) == allowed


def test_adapters_with_consecutive_numbers_are_a_range():
    assert adapters([f"mlx5_{number}:1/IB" for number in (2, 0, 1)]) == "mlx5_0..mlx5_2"
    assert adapters(["mlx5_0:1/IB", "mlx5_bond_0:1/RoCE"]) == "mlx5_0, mlx5_bond_0"
    assert adapters([f"rocep{number}s0" for number in range(6)]) == "rocep0s0, rocep1s0, rocep2s0, rocep3s0 and 2 more"
