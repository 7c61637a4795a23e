"""What a scheduler and its nodes do to a job: each ends with its own exit code and sentence, and nothing is left."""

from __future__ import annotations

import signal

import pytest
from e2e_parts import until
from slurm_nodes import SLURMD_TIMEOUT_S, Cluster, seldom
from test_slurm import LONG, SHORT, begun, run

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
WHILE = "echo begun; until [ -e /shared/go ]; do sleep 0.1; done; echo performance: 2 speed\n"
SEES_IT = ("--mount", "/shared:/shared")
# What is typed, the exit code, and a part of what is said; `{all}` are the nodes there are.
REFUSED = {
    "--partition nope": (4, "slurm.partition: refused by sbatch: invalid partition specified: nope"),
    "--partition short --time 10:00": (
        4,
        "would never begin: PartitionTimeLimit: the partition does not allow so long a time; lower --time; found "
        "0-00:10:00, allowed by partition: short 2:00; it is cancelled",
    ),
    "--account other": (
        4,
        "slurm.account: refused by sbatch: Invalid account or account/partition combination specified; found other, "
        "allowed for root: bench, root",
    ),
    "--qos other": (
        4,
        "slurm.qos: refused by sbatch: Invalid qos specification; found other, allowed for root: normal,",
    ),
    "--qos small --nodes 2": (
        4,
        "slurm.nodes: refused by sbatch: QOSMaxNodePerJobLimit; Job violates accounting/QOS policy (job submit limit, "
        "user's size and/or time limits); QOS small allows a job: node=1",
    ),
    "--constraint fast": (
        4,
        "slurm.constraint: refused by sbatch: Invalid feature specification; found fast, allowed:",
    ),
    "--reservation nope": (4, "slurm.reservation: refused by sbatch: Requested reservation is invalid; found nope"),
    "--reservation theirs": (
        4,
        "Access denied to requested reservation; found theirs, allowed: one of yours; there are",
    ),
    "--sbatch --bogus=1": (4, "slurm.sbatch: refused by sbatch: unrecognized option '--bogus=1'"),
    "--nodelist n9": (4, "slurm.nodelist: refused by sbatch: Invalid node name specified; found --nodelist=n9"),
    "--exclude {all}": (4, "which leaves 0 of 2 nodes; allowed: what leaves at least 1"),
    "--set slurm.nodes=9": (4, "slurm.nodes: found 9, allowed: at most 2, for no partition has more"),
    "--results /tmp/own": (3, "have to lie on a file system that the nodes share with this host"),
}


def test_what_can_never_run_is_refused_with_its_reason(slurm: Cluster) -> None:
    slurm.add("short", SHORT)
    theirs = ("reservationname=theirs", "accounts=other", "starttime=now+1days", "duration=60", "nodecnt=1")
    slurm.run("scontrol", "create", "reservation", *theirs)
    try:
        start = ("run", "--on", "slurm", "--tags", "short")
        every = {text: slurm.madrun(*start, *text.format(all=slurm.hosts).split()) for text in REFUSED}
        for text, started in every.items():
            code, said = REFUSED[text]
            assert started.wait(120) == code, (text, started.output)
            assert said in started.output
        assert slurm.jobs() == []
    finally:
        slurm.run("scontrol", "delete", "reservation=theirs")
    assert not slurm.records()
    slurm.until_nothing_left()


def test_a_job_that_waits_says_why_and_can_be_given_up(slurm: Cluster) -> None:
    slurm.add("short", SHORT)
    before = slurm.run("sbatch", "--parsable", "--exclusive", "-N2", "-o", "/dev/null", "--wrap", "sleep 300").strip()
    slurm.until_state(before, "RUNNING")
    started = run(slurm, "short")
    until(lambda: "Resources: the nodes it needs are busy" in started.output, 60, "the reason")
    started.signal(signal.SIGINT)
    assert started.wait(120) == 130, started.output
    assert [job[0] for job in slurm.jobs()] == [before]
    assert not slurm.records()


def test_a_drained_node_and_a_controller_that_is_away_do_not_disturb_a_run(slurm: Cluster) -> None:
    slurm.add("while", WHILE)
    started = run(slurm, "while", *SEES_IT)
    job = begun(slurm, started)
    slurm.run("scontrol", "update", f"nodename={slurm.names[1]}", "state=drain", "reason=test")
    slurm.end_daemon(slurm.head, "slurmctld", signal.SIGTERM)
    until(lambda: "the SLURM controller does not answer" in started.output, 60, "a word on the controller")
    slurm.start_daemon(slurm.head, "slurmctld")
    until(lambda: "the SLURM controller answers again" in started.output, 60, "a word on its return")
    (slurm.shared / "go").touch()
    assert started.wait(120) == 0, started.output
    assert started.output.count("controller does not answer") == 1
    assert [record["status"] for record in slurm.records()] == ["SUCCESS"]
    assert slurm.sacct(job) == ["COMPLETED", "0:0"]


def test_a_run_whose_node_is_taken_away_says_that_slurm_did_it(slurm: Cluster) -> None:
    slurm.add("long", LONG)
    started = run(slurm, "long")
    job = begun(slurm, started)
    slurm.run("scontrol", "update", f"nodename={slurm.names[1]}", "state=down", "reason=test")
    assert started.wait(120) == 3, started.output
    assert f"job {job} was ended by SLURM: SLURM lost one of its nodes" in started.output
    slurm.until_nothing_left()
    assert slurm.sacct(job)[0] == "NODE_FAIL"


@pytest.mark.long
def test_a_run_that_has_ended_is_not_made_again_by_a_controller_that_has_forgotten_it(slurm: Cluster) -> None:
    """One that is killed goes on from what it wrote down last: here, that the job still waits."""
    slurm.add("while", WHILE)
    slurm.run("scontrol", "update", "partitionname=main", "state=down")
    try:
        started = run(slurm, "while", *SEES_IT)
        until(lambda: "PartitionDown" in started.output, 60, "a job that waits")
        (job,) = slurm.jobs()
        slurm.end_daemon(slurm.head, "slurmctld", signal.SIGTERM)  # so it writes down all it knows
        slurm.run("cp", "-a", "/var/spool/slurmctld", "/var/spool/before")
        slurm.start_daemon(slurm.head, "slurmctld")
    finally:
        until(seldom(lambda: slurm.run("scontrol", "ping", check=False).count("UP") > 0), 60, "the controller")
        slurm.run("scontrol", "update", "partitionname=main", "state=up")
    assert begun(slurm, started) == job[0]
    slurm.end_daemon(slurm.head, "slurmctld")
    (slurm.shared / "go").touch()
    until(lambda: "SUCCESS" in started.output, 60, "the verdict")
    slurm.run("sh", "-c", "rm -rf /var/spool/slurmctld && mv /var/spool/before /var/spool/slurmctld")
    slurm.start_daemon(slurm.head, "slurmctld")
    assert started.wait(120) == 0, started.output
    assert f"job {job[0]} has ended, and SLURM would run it again; it is cancelled" in started.output
    slurm.until_nothing_left(90)
    assert [record["status"] for record in slurm.records()] == ["SUCCESS"]


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
    slurm.until_nothing_left()


@pytest.mark.long
def test_a_node_without_power_is_named_within_bounds(slurm: Cluster) -> None:
    slurm.add("long", LONG)
    started = run(slurm, "long")
    begun(slurm, started)
    slurm.nodes[1].power_off()
    try:
        assert started.wait(120) == 3, started.output
        assert "node 1" in started.output
    finally:
        slurm.power_on(slurm.nodes[1])
    slurm.until_nothing_left()


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
    until(lambda: len(slurm.containers()) == 2, 60, "two containers")
    started.signal(signal.SIGINT)
    assert started.wait(120) == 130, started.output
    slurm.until_nothing_left()
