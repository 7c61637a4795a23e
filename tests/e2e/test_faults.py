"""Whatever happens to a run on three nodes: nothing of it is left, and one cause is named.

How soon is measured by benchmarks/failover.py: here nothing would end by itself.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from bed import Bed
from e2e_parts import until
from faults import FAULTS, STUBBORN, Fault
from three_nodes import Node, Started

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
BY_NAME = {fault.name: fault for fault in FAULTS}
# Every fault once in containers; those that end differently without them, or at node 0, once more there.
CASES = [
    *((fault.name, "docker", 1) for fault in FAULTS),
    *((name, "process", 2) for name in ("script fails", "SIGTERM", "closed terminal", "kill -9 of madrun")),
    pytest.param("madrun frozen", "process", 0, marks=pytest.mark.long),
    ("power off", "process", 1),
    *((name, "docker", 0) for name in ("Ctrl-C", "kill -9 of madrun")),
    *(
        pytest.param(name, "docker", 0, marks=pytest.mark.long)
        for name in ("docker pause", "cable drawn", "dockerd killed")
    ),
]


@pytest.fixture
def bed(three: list[Node], tmp_path: Any) -> Iterator[Bed]:
    """All three nodes."""
    made = Bed(three, f"mark-{tmp_path.name}-{time.monotonic_ns()}")
    yield made
    made.clean()


def check_words(bed: Bed, fault: Fault, started: Sequence[Started], victim: int) -> None:
    """The cause in what every node that can speak says, and in the record."""
    host = f"node {victim} (n{victim}) was lost" if victim else "node 0 was lost"
    words = fault.says.format(victim, victim).replace(f"node {victim} (n{victim}) was lost", host)
    for rank, one in enumerate(started):
        assert "Traceback" not in one.output
        if fault.lost and rank == victim:
            continue  # what it says, if anything, is how the loss looks from there
        shown = words if fault.kind != "node lost" or rank == 0 or not victim else f"node {victim}"
        assert not fault.never or fault.never not in one.output, one.output
        assert f"  {fault.kind}: " in one.output, one.output
        assert shown in one.output, one.output
    if fault.lost and victim == 0:
        return
    culprit = bed.record()["culprit"]
    assert (culprit["kind"], culprit["node"]) == (fault.kind, victim)
    assert words in culprit["text"]


@pytest.mark.parametrize(("name", "runtime", "victim"), CASES, ids=lambda value: str(value).replace(" ", "-"))
def test_a_fault_on_one_of_three_nodes_ends_the_run_on_all(bed: Bed, name: str, runtime: str, victim: int) -> None:
    fault = BY_NAME[name]
    bed.runtime = runtime
    bed.add("stubborn", STUBBORN)
    started = bed.start("stubborn", terminal=name == "closed terminal")
    bed.until_running(started=started)
    since = time.monotonic()
    try:
        fault.inflict(bed, started, victim)
        bed.gone(60, name, since)
        others = [one.wait(60) for rank, one in enumerate(started) if rank != victim]
        assert others == [fault.codes[1]] * 2, [one.output for one in started]
        if name == "madrun frozen":
            started[victim].signal(signal.SIGCONT)
            assert started[victim].wait(60) == 3
            assert f"the lease ended on node {victim}" in started[victim].output
        elif fault.codes[0] is not None:
            assert started[victim].wait(60) == fault.codes[0]
        check_words(bed, fault, started, victim)
    finally:
        if fault.repair is not None:
            fault.repair(bed, started, victim)
    bed.gone(60, name, time.monotonic())


def test_two_runs_side_by_side_and_what_is_not_of_madrun_do_not_end_with_each_other(bed: Bed) -> None:
    """Ports tell the runs apart, run ids their containers; a container with a name like ours is not ours."""
    other = Bed(bed.nodes, f"{bed.mark}-other")
    bed.add("first", STUBBORN)
    other.add("second", STUBBORN)
    foreign = bed.nodes[1].run(
        "docker", "run", "-d", "--network", "host", "--name", "madrun-like-n1", "madrun-test/job", "sleep", "1000"
    )
    second = other.start("second")
    other.until_running(started=second)
    for name in ("script fails", "Ctrl-C", "kill -9 of madrun", "docker kill"):
        first = bed.start("first")
        bed.until_running(started=first)
        BY_NAME[name].inflict(_of(bed, "first"), first, 1)
        codes = [one.wait(60) for one in first]
        assert codes[0] == BY_NAME[name].codes[1], first[0].output
        until(lambda: not any(node.processes(bed.mark) for node in bed.nodes), 60, "the end of the first run")
    assert all(one.child.poll() is None for one in second), [one.output for one in second]
    assert all(node.processes(other.mark) for node in bed.nodes)
    assert foreign.strip() in [one["Id"] for one in bed.nodes[1].containers()]
    second[2].signal(signal.SIGTERM)
    assert [one.wait(60) for one in second] == [130, 130, 130]
    assert foreign.strip() in [one["Id"] for one in bed.nodes[1].containers()]


@pytest.mark.parametrize("victim", [0, 1])
def test_a_disk_that_fills_up_ends_in_words_that_name_the_node(bed: Bed, victim: int) -> None:
    """The console cannot be written any more; the script itself fails or not, as it likes."""
    bed.add("chatty", "for n in {1..40}; do head -c 1M /dev/zero | tr '\\0' x; echo; done\necho performance: 1 speed\n")
    node = bed.nodes[victim]
    (node.folder / "small").mkdir()
    node.run("mount", "-t", "tmpfs", "-o", "size=8m", "none", "/bed/small")
    try:
        port = 29580 + victim * 4
        started = [
            bed.join(rank, ("chatty", port), "--results", "/bed/small" if rank == victim else "/bed/results")
            for rank in range(3)
        ]
        codes = bed.codes(started, 120)
        assert set(codes) == {3}, [one.output for one in started]
        assert not any("Traceback" in one.output for one in started), [one.output for one in started]
        assert "No space left on device" in started[victim].output
        assert f"node {victim}" in started[0].output or f"node-{victim}" in started[0].output
        assert "No space left on device" in started[0].output
        assert not bed.left()
    finally:
        node.run("umount", "-l", "/bed/small")


def test_a_node_whose_script_has_ended_waits_for_the_others_and_a_late_failure_counts(bed: Bed) -> None:
    bed.add(
        "early",
        '[ "$NODE_RANK" = 0 ] || { until [ -e fail ]; do sleep 0.1; done; exit 7; }\necho performance: 1 speed\n',
    )
    started = bed.start("early")
    until(lambda: "exit 0" in bed.steps(0) and "begin" in bed.steps(2), 60, "the end of the script on node 0")
    time.sleep(2)
    assert all(one.child.poll() is None for one in started), [one.output for one in started]
    (bed.run_dir(2) / "node-2/box/work/fail").touch()
    assert bed.codes(started, 120) == [3, 3, 3]
    assert all("exit code 7 on node 2" in one.output for one in started)
    culprit = bed.record()["culprit"]
    assert (culprit["node"], culprit["exit_code"]) == (2, 7)
    assert not bed.left()


def test_an_engine_that_hangs_does_not_keep_ctrl_c_waiting(bed: Bed) -> None:
    bed.add("stubborn", STUBBORN)
    started = bed.start("stubborn")
    bed.until_running(started=started)
    engine = bed.nodes[1].engine_pid()
    os.kill(engine, signal.SIGSTOP)
    try:
        started[1].signal(signal.SIGINT)
        until(lambda: not any(node.processes(bed.mark) for node in bed.nodes), 60, "the end of the processes")
        assert [started[rank].wait(60) for rank in (0, 1, 2)] == [130, 130, 130]
    finally:
        os.kill(engine, signal.SIGCONT)
    bed.gone(60, "the container once its engine goes on", time.monotonic())


def _of(bed: Bed, card: str) -> Bed:
    return Bed(bed.nodes, bed.mark, bed.runtime, card=card)
