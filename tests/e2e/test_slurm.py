"""One command runs a card on all nodes of a SLURM job: a real scheduler, and nodes with engines of their own."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from e2e_parts import ROOT, until
from slurm_nodes import SHARED, Cluster
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
    until(lambda: len(consoles(slurm)) == 2 or started.child.poll() is not None, 60, "what two nodes print")
    assert started.child.poll() is None, started.output
    return number_of(started)


def consoles(slurm: Cluster) -> list[Path]:
    """What scripts have printed, that have printed anything."""
    return [path for path in slurm.shared.glob("results/runs/*/node-*/console.log") if path.stat().st_size]


@pytest.mark.torch
def test_one_command_trains_a_model_on_two_nodes(slurm: Cluster) -> None:
    shutil.copytree(ROOT / "models", slurm.shared / "models", dirs_exist_ok=True)
    shutil.copy(ROOT / "data.json", slurm.shared)
    context = {"MAD_CONTAINER_IMAGE": JOB_IMAGE, "docker_env_vars": {"OMP_NUM_THREADS": "1"}}
    started = run(slurm, "llama2_7b_tiny:steps=10", "-c", str(context))
    assert started.wait(120) == 0, started.output
    (record,) = slurm.records()
    assert (record["status"], record["nnodes"]) == ("SUCCESS", 2)
    assert [node["hostname"] for node in record["nodes"]] == slurm.names
    values = {metric["metric"]: metric["value"] for metric in record["metrics"]}
    assert values["tokens_per_sec"] == pytest.approx(2 * values["tokens_per_sec_per_gpu"])
    assert "llama2_7b_tiny" in (slurm.shared / "results/perf.csv").read_text()
    assert slurm.sacct(number_of(started)) == ["COMPLETED", "0:0"]
    slurm.until_nothing_left()


def test_a_script_that_fails_makes_the_job_fail(slurm: Cluster) -> None:
    slurm.add("bad", '[ "$NODE_RANK" = 0 ] || exit 7; exec sleep 300\n')
    started = run(slurm, "bad")
    assert started.wait(120) == 3, started.output
    assert "the script ended with exit code 7 on node 1" in started.output
    assert slurm.sacct(number_of(started)) == ["FAILED", "3:0"]
    assert [record["status"] for record in slurm.records()] == ["FAILURE"]
    slurm.until_nothing_left()


def test_a_container_belongs_to_its_job_whose_limits_hold_for_it(slurm: Cluster) -> None:
    """Detached, looked at, and stopped: all of it knows the launch from its folder alone."""
    slurm.add("long", LONG)
    started = run(slurm, "long", "--detach", "--set", "slurm.mem=300M")
    assert started.wait(120) == 0, started.output
    until(lambda: len(slurm.containers()) == 2, 60, "two containers")
    (job,), launch = slurm.jobs(), slurm.launches()[-1].name
    for rank, node in enumerate(slurm.nodes):
        (container,) = node.containers()
        assert container["Labels"]["madrun.slurm.job"] == job[0]
        place = f"slurm_{slurm.names[rank]}/uid_0/job_{job[0]}"
        assert node.engine.inspect(container["Id"])["HostConfig"]["CgroupParent"] == f"/{place}"
        above = Path("/sys/fs/cgroup/memory", place)
        assert int((above / "memory.limit_in_bytes").read_text()) == 300 << 20
        assert (above / container["Id"] / "cgroup.procs").read_text().split()
        env = slurm.container_env(node)
        assert (env["NODE_RANK"], env["NNODES"]) == (str(rank), "2")
        assert env["MASTER_ADDR"] == slurm.nodes[0].address
    until(lambda: "begun as 0 of 2" in command(slurm, "logs", launch), 60, "the output of node 0")
    said = command(slurm, "status", launch)
    assert f"job {job[0]} on {slurm.hosts}" in said
    assert "RUNNING" in said
    command(slurm, "stop", launch)
    slurm.until_nothing_left()
    assert slurm.sacct(job[0])[0].startswith("CANCELLED")
    assert [failure_of(record) for record in slurm.records()] == ["interrupted"]
    places = [Path("/sys/fs/cgroup/memory", f"slurm_{name}") for name in slurm.names]
    until(lambda: not any(list(place.glob("*/*")) for place in places), 60, "the end of the jobs' cgroups")


def test_an_interrupt_of_the_command_ends_the_job_on_all_nodes(slurm: Cluster) -> None:
    slurm.add("long", LONG)
    started = run(slurm, "long")
    job = begun(slurm, started)
    started.signal(signal.SIGINT)
    assert started.wait(120) == 130, started.output
    slurm.until_nothing_left()
    assert slurm.sacct(job)[0].startswith("CANCELLED")
    assert [failure_of(record) for record in slurm.records()] == ["interrupted"]


def test_a_job_that_is_cancelled_from_outside_ends_in_order_and_says_so(slurm: Cluster) -> None:
    slurm.add("long", LONG)
    started = run(slurm, "long")
    job = begun(slurm, started)
    slurm.run("scancel", job)
    assert started.wait(120) == 3, started.output
    assert "cancelled" in started.output
    slurm.until_nothing_left()
    assert [failure_of(record) for record in slurm.records()] == ["interrupted"]
    assert slurm.sacct(job)[0].startswith("CANCELLED")


def test_inside_an_allocation_its_nodes_are_used_at_once(slurm: Cluster) -> None:
    slurm.add("short", SHORT)
    words = ("run", "--on", "slurm", "--tags", "short", "--time", "9m")
    started = slurm.command("env", "--chdir=/shared", "salloc", "-N2", "--exclusive", *slurm.program(), *words)
    assert started.wait(120) == 0, started.output
    (record,) = slurm.records()
    assert (record["status"], record["nnodes"]) == ("SUCCESS", 2)
    granted = started.output.partition("Granted job allocation ")[2].split()[0]
    assert (
        f"inside job {granted} these have no effect: slurm.time=9m; salloc or sbatch has to be told" in started.output
    )
    assert f"inside job {granted}: runs on {', '.join(slurm.names)}" in started.output
    slurm.until_nothing_left()


def test_in_a_batch_script_of_ones_own_each_launch_is_a_step_that_can_be_stopped(slurm: Cluster) -> None:
    slurm.add("short", SHORT)
    slurm.add("long", LONG)
    program = " ".join(slurm.program())
    runs = "".join(f"{program} run --on slurm --tags {card}; echo code $?\n" for card in ("long", "short"))
    (slurm.shared / "own.sh").write_text(f"#!/bin/sh\ncd {SHARED}\n{runs}")
    job = slurm.run("sbatch", "--parsable", "-N2", "--exclusive", "-o", "/shared/own.out", "/shared/own.sh").strip()
    until(lambda: len(consoles(slurm)) == 2, 60, "what two nodes print")
    launch = slurm.launches()[-1].name
    assert f"inside of job {job} on {slurm.hosts}" in command(slurm, "status", launch)
    command(slurm, "stop", launch)
    assert slurm.sacct(job) == ["COMPLETED", "0:0"]
    said = (slurm.shared / "own.out").read_text()
    assert f"its step inside of job {job} was ended by madrun stop\ncode 130\n" in said
    assert said.endswith("code 0\n")
    assert [record["status"] for record in slurm.records()] == ["FAILURE", "SUCCESS"]
    slurm.until_nothing_left()


def test_what_is_rendered_is_submitted_by_hand_once_and_known_by_its_folder(slurm: Cluster) -> None:
    slurm.add("short", SHORT)
    command(slurm, "render", "--on", "slurm", "--nodes", "2", "--tags", "short", "--to", "/shared/by-hand")
    first, second = (slurm.run("sbatch", "--parsable", "/shared/by-hand/job.sh").strip() for _ in range(2))
    assert slurm.sacct(first) == ["COMPLETED", "0:0"]
    assert slurm.sacct(second) == ["FAILED", "2:0"]
    assert f"/shared/by-hand is what job {first} ran" in (slurm.shared / "by-hand/job.log").read_text()
    assert f"job {first}" in command(slurm, "status", "/shared/by-hand")
    assert [record["status"] for record in slurm.records()] == ["SUCCESS"]


def test_the_results_of_an_ordinary_user_are_that_users(slurm: Cluster) -> None:
    user = os.environ.get("MADRUN_TEST_USER")
    if not user:
        pytest.skip("needs MADRUN_TEST_USER, an ordinary member of group docker")
    slurm.add("short", SHORT)
    words = ("run", "--on", "slurm", "--nodes", "2", "--tags", "short")
    started = slurm.madrun(*words, user=user)
    assert started.wait(120) == 0, started.output
    owners = {path.owner() for path in (slurm.shared / "results").rglob("*")}
    assert owners == {user}


def number_of(started: Started) -> str:
    """The number of the job that it has submitted."""
    return started.output.partition("submitted as job ")[2].split()[0]


def command(slurm: Cluster, *words: str) -> str:
    """What `madrun WORDS` prints on the head."""
    started = slurm.madrun(*words)
    assert started.wait(120) == 0, started.output
    return started.output


def failure_of(record: dict[str, object]) -> object:
    """Why a run has failed, in one word."""
    culprit = record["culprit"]
    assert isinstance(culprit, dict)
    return culprit["kind"]
