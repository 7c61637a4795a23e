"""What a scheduler and its nodes do to a job: each ends with its own exit code and sentence, and nothing is left."""

from __future__ import annotations

import signal

import pytest
from e2e_parts import until
from slurm_nodes import SLURMD_TIMEOUT_S, Cluster
from test_slurm import LONG, SHORT, begun, run

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
WHILE = "sleep 8; echo performance: 2 speed\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--partition", "nope"), 4, "slurm.partition: refused by sbatch: invalid partition specified: nope"),
        (("--partition", "short", "--time", "10:00"), 4, "PartitionTimeLimit: the partition does not allow so long"),
        (("--nodelist", "n9"), 4, "refused by sbatch: Invalid node name specified"),
        (("--results", "/tmp/own"), 3, "/tmp/own/launches/"),
    ],
    ids=["partition", "time", "node", "results that are not shared"],
)
def test_what_can_never_run_is_refused_with_its_reason(
    slurm: Cluster, words: tuple[str, ...], code: int, said: str
) -> None:
    slurm.add("short", SHORT)
    started = run(slurm, "short", *words)
    assert started.wait(30) == code, started.output
    assert said in started.output
    slurm.until_nothing_left(5)


def test_a_job_that_waits_says_why_and_can_be_given_up(slurm: Cluster) -> None:
    slurm.add("short", SHORT)
    before = slurm.run("sbatch", "--parsable", "--exclusive", "-N2", "-o", "/dev/null", "--wrap", "sleep 300").strip()
    slurm.until_state(before, "RUNNING")
    started = run(slurm, "short")
    until(lambda: "Resources: the nodes it needs are busy" in started.output, 20, "the reason")
    started.signal(signal.SIGINT)
    assert started.wait(20) == 130, started.output
    assert [job[0] for job in slurm.jobs()] == [before]
    assert not slurm.records()


def test_a_drained_node_and_a_new_controller_do_not_disturb_a_run(slurm: Cluster) -> None:
    slurm.add("while", WHILE)
    started = run(slurm, "while")
    job = begun(slurm, started)
    slurm.run("scontrol", "update", "nodename=n2", "state=drain", "reason=test")
    slurm.end_daemon(
        slurm.head, "slurmctld", signal.SIGTERM
    )  # it writes down its jobs; killed it may forget the newest
    slurm.start_daemon(slurm.head, "slurmctld")
    assert started.wait(60) == 0, started.output
    assert [record["status"] for record in slurm.records()] == ["SUCCESS"]
    slurm.until_state(job, "COMPLETED")


@pytest.mark.long
def test_a_run_whose_slurmd_is_killed_ends_with_a_verdict(slurm: Cluster) -> None:
    """Until the controller gives the node up the run goes on; then the job is at its end, and so is the run."""
    slurm.add("long", LONG)
    started = run(slurm, "long")
    job = begun(slurm, started)
    slurm.end_daemon(slurm.nodes[1], "slurmd")
    try:
        assert started.wait(60 + 3 * SLURMD_TIMEOUT_S) == 3, started.output
    finally:
        slurm.start_daemon(slurm.nodes[1], "slurmd")
    assert "was ended by SLURM: SLURM lost one of its nodes" in started.output
    assert slurm.sacct(job)[0] == "NODE_FAIL"
    slurm.until_nothing_left(30)


@pytest.mark.long
def test_a_node_without_power_is_named_within_bounds(slurm: Cluster) -> None:
    slurm.add("long", LONG)
    started = run(slurm, "long")
    begun(slurm, started)
    slurm.nodes[1].power_off()
    try:
        assert started.wait(60) == 3, started.output
        assert "node 1" in started.output
    finally:
        slurm.power_on(slurm.nodes[1])
    slurm.until_nothing_left(30)


@pytest.mark.long
def test_a_preempted_run_ends_in_order_and_begins_again(slurm: Cluster) -> None:
    slurm.add("long", LONG)
    started = run(slurm, "long", "--set", "slurm.requeue=true")
    job = begun(slurm, started)
    urgent = ("sbatch", "--parsable", "-p", "urgent", "--exclusive", "-N2", "-o", "/dev/null", "--wrap", "sleep 4")
    other = slurm.run(*urgent).strip()
    slurm.until_state(other, "RUNNING", "COMPLETED")
    assert [record["culprit"]["kind"] for record in slurm.records()] == ["interrupted"]
    slurm.until_state(job, "RUNNING", seconds=90)
    assert slurm.job(job)["Restarts"] == "1"
    assert started.child.poll() is None, started.output
    until(lambda: len(slurm.containers()) == 2, 40, "two containers")
    started.signal(signal.SIGINT)
    assert started.wait(30) == 130, started.output
    slurm.until_nothing_left()
