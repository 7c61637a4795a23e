"""One command runs a card on all nodes of a SLURM job: a real scheduler, and nodes with engines of their own."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from e2e_parts import ROOT, until
from slurm_nodes import Cluster
from three_nodes import JOB_IMAGE, Started

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
# `exec`: the script is what it waits for, so that it ends with a signal.
LONG = "echo begun as $NODE_RANK of $NNODES; exec sleep 300\n"
SHORT = "echo as $NODE_RANK of $NNODES; echo performance: 2 speed\n"


def run(slurm: Cluster, card: str, *words: str) -> Started:
    """`madrun run --on slurm` of the card on both nodes."""
    return slurm.madrun("run", "--on", "slurm", "--nodes", "2", "--tags", card, *words)


def begun(slurm: Cluster, started: Started) -> str:
    """The number of its job, once the script runs on both nodes."""
    until(lambda: len(slurm.containers()) == 2 or started.child.poll() is not None, 40, "two containers")
    assert started.child.poll() is None, started.output
    (job,) = slurm.jobs()
    until(lambda: len(list(slurm.shared.glob("results/runs/*/node-*/console.log"))) == 2, 10, "both consoles")
    return job[0]


@pytest.mark.torch
def test_one_command_trains_a_model_on_two_nodes(slurm: Cluster) -> None:
    shutil.copytree(ROOT / "models", slurm.shared / "models", dirs_exist_ok=True)
    shutil.copy(ROOT / "data.json", slurm.shared)
    context = {"MAD_CONTAINER_IMAGE": JOB_IMAGE, "docker_env_vars": {"OMP_NUM_THREADS": "1"}}
    started = run(slurm, "llama2_7b_tiny:steps=10", "-c", str(context))
    assert started.wait(120) == 0, started.output
    (record,) = slurm.records()
    assert (record["status"], record["nnodes"]) == ("SUCCESS", 2)
    assert [node["hostname"] for node in record["nodes"]] == ["n1", "n2"]
    values = {metric["metric"]: metric["value"] for metric in record["metrics"]}
    assert values["tokens_per_sec"] == pytest.approx(2 * values["tokens_per_sec_per_gpu"])
    assert "llama2_7b_tiny" in (slurm.shared / "results/perf.csv").read_text()
    assert slurm.sacct(slurm.last_job()) == ["COMPLETED", "0:0"]
    slurm.until_nothing_left()


def test_a_script_that_fails_makes_the_job_fail(slurm: Cluster) -> None:
    slurm.add("bad", '[ "$NODE_RANK" = 0 ] || exit 7; exec sleep 300\n')
    started = run(slurm, "bad")
    assert started.wait(60) == 3, started.output
    assert "the script ended with exit code 7 on node 1" in started.output
    assert slurm.sacct(slurm.last_job()) == ["FAILED", "3:0"]
    assert [record["status"] for record in slurm.records()] == ["FAILURE"]
    slurm.until_nothing_left()


def test_a_container_belongs_to_its_job_whose_limits_hold_for_it(slurm: Cluster) -> None:
    """Detached, looked at, and stopped: all of it knows the launch from its folder alone."""
    slurm.add("long", LONG)
    started = run(slurm, "long", "--detach", "--set", "slurm.mem=300M")
    assert started.wait(30) == 0, started.output
    until(lambda: len(slurm.containers()) == 2, 40, "two containers")
    (job,), launch = slurm.jobs(), slurm.launches()[-1].name
    for rank, node in enumerate(slurm.nodes):
        (container,) = node.containers()
        assert container["Labels"]["madrun.slurm.job"] == job[0]
        place = f"slurm_n{node.number}/uid_0/job_{job[0]}"
        assert node.engine.inspect(container["Id"])["HostConfig"]["CgroupParent"] == f"/{place}"
        above = Path("/sys/fs/cgroup/memory", place)
        assert int((above / "memory.limit_in_bytes").read_text()) == 300 << 20
        assert (above / container["Id"] / "cgroup.procs").read_text().split()
        env = slurm.container_env(node)
        assert (env["NODE_RANK"], env["NNODES"]) == (str(rank), "2")
        assert env["MASTER_ADDR"] == slurm.nodes[0].address
    until(lambda: "begun as 0 of 2" in command(slurm, "logs", launch), 10, "the output of node 0")
    said = command(slurm, "status", launch)
    assert f"job {job[0]} on n[1-2]" in said
    assert "RUNNING" in said
    command(slurm, "stop", launch)
    slurm.until_nothing_left()
    assert slurm.sacct(job[0])[0].startswith("CANCELLED")
    assert [failure_of(record) for record in slurm.records()] == ["interrupted"]
    until(lambda: not list(Path("/sys/fs/cgroup/memory").glob("slurm_n*/*/*")), 10, "the end of the jobs' cgroups")


def test_an_interrupt_of_the_command_ends_the_job_on_all_nodes(slurm: Cluster) -> None:
    slurm.add("long", LONG)
    started = run(slurm, "long")
    job = begun(slurm, started)
    started.signal(signal.SIGINT)
    assert started.wait(30) == 130, started.output
    slurm.until_nothing_left(5)
    assert slurm.sacct(job)[0].startswith("CANCELLED")
    assert [failure_of(record) for record in slurm.records()] == ["interrupted"]


def test_a_job_that_is_cancelled_from_outside_ends_in_order_and_says_so(slurm: Cluster) -> None:
    slurm.add("long", LONG)
    started = run(slurm, "long")
    job = begun(slurm, started)
    slurm.run("scancel", job)
    assert started.wait(30) == 3, started.output
    assert "cancelled" in started.output
    slurm.until_nothing_left()
    assert [failure_of(record) for record in slurm.records()] == ["interrupted"]
    assert slurm.sacct(job)[0].startswith("CANCELLED")


def test_inside_an_allocation_its_nodes_are_used_at_once(slurm: Cluster) -> None:
    slurm.add("short", SHORT)
    words = ("run", "--on", "slurm", "--tags", "short")
    started = slurm.command("env", "--chdir=/shared", "salloc", "-N2", "--exclusive", *slurm.program(), *words)
    assert started.wait(60) == 0, started.output
    (record,) = slurm.records()
    assert (record["status"], record["nnodes"]) == ("SUCCESS", 2)
    assert slurm.last_job() in started.output
    slurm.until_nothing_left()


def test_the_results_of_an_ordinary_user_are_that_users(slurm: Cluster) -> None:
    user = os.environ.get("MADRUN_TEST_USER")
    if not user:
        pytest.skip("needs MADRUN_TEST_USER, an ordinary member of group docker")
    slurm.add("short", SHORT)
    words = ("run", "--on", "slurm", "--nodes", "2", "--tags", "short")
    started = slurm.madrun(*words, user=user)
    assert started.wait(60) == 0, started.output
    owners = {path.owner() for path in (slurm.shared / "results").rglob("*")}
    assert owners == {user}


def command(slurm: Cluster, *words: str) -> str:
    """What `madrun WORDS` prints on the head."""
    started = slurm.madrun(*words)
    assert started.wait(30) == 0, started.output
    return started.output


def failure_of(record: dict[str, object]) -> object:
    """Why a run has failed, in one word."""
    culprit = record["culprit"]
    assert isinstance(culprit, dict)
    return culprit["kind"]
