"""A rank killed, a node cut off, mpirun killed: under every runner all that was started is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import Bed
from e2e_parts import until
from faults import FAULTS
from three_nodes import Node, Started

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
BY_NAME = {fault.name: fault for fault in FAULTS}
ENDS_S = 60  # what is started here never ends by itself
ALL = ["torchrun", "mpirun", "accelerate", "deepspeed"]
# A rank with a child that left its session; neither listens to a signal that can be ignored.
STUBBORN = """
import signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen(["bash", "-c", "while :; do sleep 1; done", "bash", sys.argv[1]], start_new_session=True)
print("the last words of a rank", flush=True)
while True:
    time.sleep(1)
"""


@pytest.fixture
def make_bed(two_with_runners: list[Node], tmp_path: Any) -> Iterator[Callable[[str], Bed]]:
    """Makes a bed of both nodes with a stubborn card for a runner, which starts two ranks on each node."""

    def make(runner: str) -> Bed:
        bed = Bed(two_with_runners, f"mark-{tmp_path.name}-{runner}", card=runner)
        bed.multi = {"RUNNER": runner, "NPROC_PER_NODE": 2}
        bed.add(runner, "", script="stubborn.py", args=bed.mark)
        for node in bed.nodes:
            (node.folder / "models" / runner / "stubborn.py").write_text(STUBBORN)
        return bed

    yield make
    for node in two_with_runners:
        node.clean()


def start(bed: Bed) -> list[Started]:
    """The card's run on both nodes, as soon as all four ranks with their children run."""
    started = bed.start(bed.card)

    def runs() -> bool:
        assert all(one.child.poll() is None for one in started), [one.output for one in started]
        return all(
            len(ranks(node, bed.mark, "stubborn.py")) == len(ranks(node, bed.mark, "bash")) == 2 for node in bed.nodes
        )

    until(runs, 120, "four ranks")
    return started


def ranks(node: Node, mark: str, word: str) -> list[int]:
    """Processes that have RANK, which what starts and watches them has not, and such a word in their command line."""
    found = node.processes(mark)
    return [pid for pid in found if b"\0RANK=" in read(pid, "environ") and word.encode() in read(pid, "cmdline")]


def read(pid: int, name: str) -> bytes:
    """A file of a process; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("runner", ALL)
def test_a_killed_rank_ends_the_run_and_is_named(make_bed: Callable[[str], Bed], runner: str) -> None:
    bed = make_bed(runner)
    started = start(bed)
    since = time.monotonic()
    os.kill(ranks(bed.nodes[1], bed.mark, "stubborn.py")[0], signal.SIGKILL)
    bed.gone(ENDS_S, "a killed rank", since)
    assert bed.codes(started, 120) == [3, 3]
    for one in started:
        assert "(node 1) ended first, by signal 9 (SIGKILL)" in one.output
    culprit = bed.record()["culprit"]
    assert (culprit["kind"], culprit["node"], culprit["rank"] // 2) == ("killed", 1, 1)


def pid_of(bed: Bed, program: str) -> int:
    """The one process of this name on node 0."""
    (found,) = [pid for pid in bed.nodes[0].processes(bed.mark) if read(pid, "comm") == f"{program}\n".encode()]
    return found


def test_a_cut_node_ends_the_runs_of_every_runner(make_bed: Callable[[str], Bed]) -> None:
    """Three runs at a time on the two nodes: what ends them is waiting, which they may do together."""
    fault = BY_NAME["packets dropped"]
    beds = [make_bed(runner) for runner in ("mpirun", "accelerate", "deepspeed")]
    runs = [start(bed) for bed in beds]
    since = time.monotonic()
    try:
        fault.inflict(beds[0], runs[0], 1)
        for bed in beds:
            bed.gone(ENDS_S, "a cut node", since)
        for bed, started in zip(beds, runs, strict=True):
            assert bed.codes(started, 120) == [3, 3]
            assert "node lost: node 1 (n1) was lost: not heard of" in started[0].output, started[0].output
            assert "Traceback" not in started[1].output
    finally:
        fault.repair(beds[0], runs[0], 1)


def test_a_node_without_power_ends_the_run_of_mpirun(make_bed: Callable[[str], Bed]) -> None:
    fault, bed = BY_NAME["power off"], make_bed("mpirun")
    started = start(bed)
    since = time.monotonic()
    try:
        fault.inflict(bed, started, 1)
        bed.gone(ENDS_S, fault.name, since)
        assert started[0].wait(60) == 3
        assert "node lost: node 1 (n1) was lost" in started[0].output
        assert bed.record()["culprit"]["node"] == 1
    finally:
        fault.repair(bed, started, 1)


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ("Ctrl-C", 130, "interrupted by SIGINT on node 1"),
        ("kill -9 of mpirun", 3, "the script was ended by signal 9 (SIGKILL) on node 0"),
    ],
)
def test_what_mpirun_started_is_gone_with(make_bed: Callable[[str], Bed], what: str, code: int, says: str) -> None:
    bed = make_bed("mpirun")
    started = start(bed)
    since = time.monotonic()
    if what == "Ctrl-C":
        started[1].signal(signal.SIGINT)
    else:
        os.kill(pid_of(bed, "mpirun"), signal.SIGKILL)
    bed.gone(ENDS_S, what, since)
    assert bed.codes(started, 120) == [code, code]
    assert all(says in one.output for one in started)
