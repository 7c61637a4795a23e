"""NCCL's files come out of the box, bounded and masked, and are read together with the console."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from madrun.node import proof
from madrun.node.proof import Counting, with_transport
from madrun.node.workspace import Workspace
from madrun.spec.plan import TRANSPORT_LOGS
from madrun.spec.record import NodeOutcome
from madrun.spec.transport import Moved, NodeTransport

OUTCOME = NodeOutcome(node=0, hostname="alpha")
USING = "alpha:7:9 [0] NCCL INFO Using network"


@pytest.fixture
def space(tmp_path):
    made = Workspace(tmp_path / "node-0")
    (made.box / TRANSPORT_LOGS).mkdir(parents=True)
    return made


@pytest.fixture
def proven(space, make_job, make_test_plan):
    def run(outcome=OUTCOME, secrets=(), **job):
        made = make_job(**({"nnodes": 2} | job))
        return with_transport(space, made, make_test_plan(made).node, outcome, secrets)

    return run


def test_files_and_console_are_heard_and_the_files_are_kept(space, proven):
    (space.box / TRANSPORT_LOGS / "alpha.7.log").write_text(f"{USING} IB\nNCCL_NET set to tr0ub4dor\n")
    space.console.write_text("alpha:8:9 [0] NCCL INFO Using network Socket\n")
    counted = NodeTransport(bytes={"eth0": Moved(sent=5)}, rdma_bytes=7)
    found = proven(outcome=NodeOutcome(node=0, hostname="alpha", transport=counted), secrets=["tr0ub4dor"])
    assert found.transport is not None
    assert [network.name for network in found.transport.networks] == ["IB", "Socket"]
    assert (found.transport.bytes, found.transport.rdma_bytes) == (counted.bytes, 7)
    assert (space.root / "nccl/alpha.7.log").read_text() == f"{USING} IB\nNCCL_NET set to ***\n"


def test_of_a_long_file_the_beginning_is_kept_and_a_note_says_so(space, proven, monkeypatch):
    monkeypatch.setattr(proof, "_MOST_BYTES", 60)
    (space.box / TRANSPORT_LOGS / "alpha.7.log").write_text(f"{USING} IB\n" + "x" * 100)
    found = proven()
    assert found.notes == ("of 1 files in nccl/ only the beginning is kept, as of alpha.7.log",)
    assert (space.root / "nccl/alpha.7.log").stat().st_size == 60


def test_what_a_script_puts_in_the_place_of_these_files_is_not_opened(space, proven, tmp_path):
    folder = space.box / TRANSPORT_LOGS
    (tmp_path / "mine.log").write_text(f"{USING} IB\n")
    (folder / "link.log").symlink_to(tmp_path / "mine.log")
    os.mkfifo(folder / "pipe.log")
    (folder / "other.txt").write_text(f"{USING} IB\n")
    assert proven().transport is None
    assert not (space.root / "nccl").exists() or not list((space.root / "nccl").iterdir())
    for entry in folder.iterdir():
        entry.unlink()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert proven().transport is None


def test_a_process_that_ran_alone_is_not_looked_at_nor_one_node_without_gpus(space, proven):
    space.console.write_text(f"{USING} Socket\n")
    assert proven(nnodes=1).transport is None
    assert proven(nnodes=1, nproc_per_node=2).transport is None  # without GPUs there is no NCCL
    assert proven(nnodes=1, nproc_per_node=2, vendor="amd").transport is not None


def test_bytes_are_counted_from_before_the_script_to_its_end_on_several_nodes_alone(tmp_path, make_job, make_test_plan):
    def stand(received):
        (tmp_path / "proc/net").mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys/class/net/eth0").mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/net/dev").write_text(f"head\nhead\n  eth0: {received} 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n")

    job = make_job(nnodes=2)
    node = replace(make_test_plan(job).node, nccl_ifname="=eth0", gloo_ifname="eth0")
    stand(1000)
    several, alone = Counting(job, node, tmp_path), Counting(make_job(nnodes=1), node, tmp_path)
    stand(4000)
    assert several.told() == NodeTransport(bytes={"eth0": Moved(received=3000, sent=0)})
    assert alone.told() is None
