"""One command on a host starts, shows and ends what runs on bare nodes that ssh reaches: real sshd, real engines."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import ROOT, until
from inside import container_env
from runner_image import files_of_image
from ssh_nodes import SshBed, ssh_bed, ssh_nodes
from three_nodes import JOB_IMAGE, Started

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
# What is carried stays there from test to test; images of this machine, which other tests make and remove, are not.
HOSTS = ("--hosts", "n0,n1", "--set", "ssh.folder=/var/madrun", "--set", "ssh.images=registry")
SLOW = 'echo "performance: 1 x"\nexec -a MARK sleep 600\n'


@pytest.fixture
def bed(by_ssh: SshBed) -> Iterator[SshBed]:
    """The bed, two of whose nodes have the job's image."""
    for node in by_ssh.nodes[:2]:
        node.load_job()
    yield by_ssh
    for node in by_ssh.nodes[:2]:
        node.run("docker", "rmi", "-f", JOB_IMAGE)


def running(bed: SshBed, *ranks: int) -> None:
    """Returns when the script runs on these nodes."""
    for rank in ranks or (0, 1):
        until(lambda rank=rank: bool(bed.nodes[rank].processes(bed.mark)), 60, f"the script on node {rank}")  # type: ignore[misc]


def launches(bed: SshBed) -> list[Path]:
    return sorted((bed.folder / "results/launches").iterdir())


def rows(bed: SshBed) -> list[dict[str, str]]:
    """The rows on the head."""
    return list(csv.DictReader((bed.folder / "results/perf.csv").read_text().splitlines()))


def ends_everywhere(bed: SshBed, within_s: float, ranks: tuple[int, ...] = (0, 1)) -> float:
    """Seconds until no process of the script and no container is left on these nodes."""
    nodes = [bed.nodes[rank] for rank in ranks]
    return until(
        lambda: not any(node.processes(bed.mark) or node.containers() for node in nodes),
        within_s,
        "the end on all nodes",
    )


def shown(started: Started) -> Any:
    assert started.wait(60) in (0, 3), started.output
    return json.loads(started.output)


def test_a_detached_launch_is_seen_followed_and_stopped_by_its_name(bed: SshBed) -> None:
    bed.add("slow", f'echo "hello from $NODE_RANK"\n{SLOW}')
    secret = "{'docker_env_vars': {'MY_TOKEN': 'hush-hush'}}"
    (bed.folder / "madrun-site.yaml").write_text("docker_env_vars: {SITE_TOKEN: hush-hush-too}\n")
    words = ("--env", "SOME=thing", "-c", secret, "--detach")
    begun = bed.madrun("run", "--tags", "slow", "--on", "ssh", *HOSTS, *words)
    assert begun.wait(120) == 0, begun.output
    (folder,) = launches(bed)
    assert begun.output.splitlines()[-2:] == [
        folder.name,
        "madrun: started on 2 nodes; madrun status, logs -f and stop know it by this id",
    ]
    log = bed.madrun("logs", "-f", folder.name)
    running(bed)
    envs = [container_env(node, bed.mark) for node in bed.nodes[:2]]
    assert [env["NODE_RANK"] for env in envs] == ["0", "1"]
    assert {(env["NNODES"], env["SOME"], env["MY_TOKEN"]) for env in envs} == {("2", "thing", "hush-hush")}
    assert {env["SITE_TOKEN"] for env in envs} == {"hush-hush-too"}
    assert {env["MASTER_ADDR"] for env in envs} == {bed.nodes[0].address}
    assert len({env["MASTER_PORT"] for env in envs}) == 1
    assert not any("SECRET" in name for env in envs for name in env)
    state = shown(bed.madrun("status", folder.name, "--json"))
    assert (state["phase"], [node["host"] for node in state["nodes"]]) == ("running", ["n0", "n1"])
    assert [one["launch_id"] for one in shown(bed.madrun("ps", "--json"))["launches"]] == [folder.name]
    until(lambda: not (folder / "private.env").exists(), 60, "the end of the private file")  # all have joined
    until(lambda: not shows(bed, "hush-hush"), 60, "the end of what is private on the nodes")
    stopped = bed.madrun("stop", "last")
    assert stopped.wait(120) == 0, stopped.output
    assert stopped.output.endswith(f"ended: {folder.name}\n")
    assert bed.left() == []
    assert log.wait(60) == 0
    assert "hello from 0\nperformance: 1 x\n" in log.output
    state = shown(bed.madrun("status", folder.name, "--json"))
    assert (state["phase"], state["exit_code"], state["reason"]) == ("ended", 130, "interrupted by SIGTERM")
    assert not shows_here(folder, "hush-hush")


def shows(bed: SshBed, text: str) -> list[str]:
    """Files of launches on the two nodes, and command lines there, in which the text stands."""
    words = f"grep -rlF {text} /var/madrun/launches /dev/shm"
    found = [line for node in bed.nodes[:2] for line in node.run("bash", "-c", f"{words} || true").splitlines()]
    pids = [pid for node in bed.nodes[:2] for pid in node.processes()]
    return [*found, *(str(pid) for pid in pids if text in command_line(pid))]


def shows_here(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


def test_a_failing_script_on_one_node_fails_the_command_with_its_last_words(bed: SshBed) -> None:
    bed.add("bad", '[ "$NODE_RANK" = 0 ] && (exec -a MARK sleep 600)\necho out of luck >&2\nexit 9\n')
    done = bed.madrun("run", "--tags", "bad", "--on", "ssh", *HOSTS)
    assert done.wait(120) == 3, done.output
    assert "FAILURE bad  2 nodes x 1  docker" in done.output
    assert "exit code 9" in done.output
    assert "out of luck" in done.output
    bed.gone()


@pytest.mark.parametrize("end", ["Ctrl-C", pytest.param("closed terminal", marks=pytest.mark.long)])
def test_what_ends_the_command_ends_all_nodes(bed: SshBed, end: str) -> None:
    bed.add("slow", SLOW)
    words = ("run", "--tags", "slow", "--on", "ssh", *HOSTS)
    started = bed.madrun(*words, terminal=end == "closed terminal")
    running(bed)
    if end == "Ctrl-C":
        started.signal(signal.SIGINT)
        assert started.wait(120) == 130, started.output
        assert "interrupted by SIGINT" in started.output
        assert len(list((bed.folder / "results/runs").iterdir())) == 1  # and its files are here
    else:
        started.close_terminal()
    ends_everywhere(bed, 60)
    bed.gone()


def home(bed: SshBed, launch_id: str) -> tuple[str, str]:
    """The run of the launch, once `madrun status` has brought it here; and what that printed."""
    said: list[str] = []

    def is_home() -> bool:
        """Node 0 may still be ending: that is told, and is no reason to take anything from it."""
        status = bed.madrun("status", launch_id)
        assert status.wait(60) in (0, 3), status.output
        said.append(status.output)
        return "has not ended there yet" not in status.output

    until(is_home, 120, "the end of what ran on node 0")
    (run,) = (bed.folder / "results/runs").iterdir()
    assert "not here" not in said[-1]
    return run.name, said[-1]


def is_there_once(bed: SshBed, launch_id: str, run: str, status: str) -> None:
    """The run's row, also when the launch is asked for again; nothing of it is on the nodes any more."""
    for _ in range(2):
        report = bed.madrun("report", "--json")
        assert report.wait(60) == 0, report.output
        found = [(row["run_id"], row["status"]) for row in rows(bed)]
        assert (found, report.output.count(f'"{run}"')) == ([(run, status)], 1)
        again = bed.madrun("status", launch_id)
        assert again.wait(60) in (0, 3)
        assert "brought home" not in again.output
    for node in bed.nodes[:2]:
        assert not node.run("bash", "-c", f"ls -d /var/madrun/launches/{launch_id} || true").strip()


def test_a_launch_whose_attendant_was_killed_comes_home_when_it_is_asked_for(bed: SshBed) -> None:
    bed.add("slow", SLOW)
    site = bed.folder / "madrun-site.yaml"
    site.write_text("shm_size: 3g\n")
    begun = bed.madrun("run", "--tags", "slow", "--on", "ssh", *HOSTS, "--detach")
    assert begun.wait(120) == 0, begun.output
    running(bed)
    (attended,) = shown(bed.madrun("ps", "--json"))["launches"]
    os.kill(attended["pid"], signal.SIGKILL)
    ends_everywhere(bed, 60)
    run, said = home(bed, attended["launch_id"])
    assert f"brought home: {run}\nLOST {attended['launch_id']}" in said
    record = (bed.folder / "results/runs" / run / "record.json").read_text()
    assert "let go by the launching command on node" in record
    is_there_once(bed, attended["launch_id"], run, "FAILURE")
    explained = bed.madrun("explain", "--run", run, "shm_size", "--json")
    assert [one["layer"] for one in shown(explained)["values"]] == [f"site file {site}"]
    bed.gone()


def test_a_command_that_was_killed_right_after_the_end_loses_nothing_and_its_plan_runs_anew(bed: SshBed) -> None:
    bed.add("one", 'echo "performance: 1 x"\n')
    words = ("--on", "ssh", *HOSTS)
    started = bed.madrun("run", "--tags", "one", *words)
    until(lambda: (bed.folder / "results/launches").exists() and bool(launches(bed)), 60, "the launch's folder")
    (folder,) = launches(bed)
    journal = folder / "journal.jsonl"
    until(lambda: journal.exists() and '"node ended", "rank": 0' in journal.read_text(), 120, "the end of node 0")
    started.signal(signal.SIGKILL)
    assert started.wait(60) in (137, 0), started.output  # wherever it was by then, also behind all of it
    run, _ = home(bed, folder.name)
    is_there_once(bed, folder.name, run, "SUCCESS")
    (bed.folder / "models/one/run.sh").write_text("exit 1\n")
    refused = bed.madrun("run", "--plan", run, *words)
    assert refused.wait(60) == 4
    assert "--plan: changed since: the card's files, " in refused.output
    assert len(launches(bed)) == 1
    (bed.folder / "models/one/run.sh").write_text('echo "performance: 1 x"\n')
    again = bed.madrun("run", "--plan", run, *words)  # the copy of the repository lies at another place now
    assert again.wait(180) == 0, again.output
    assert "SUCCESS one  2 nodes x 1  docker" in again.output
    assert [row["status"] for row in rows(bed)] == ["SUCCESS", "SUCCESS"]
    bed.gone()


def test_a_cut_network_ends_both_sides(bed: SshBed) -> None:
    """Node 1 ends by the silence of its lease, the others by node 0, which loses it; nobody waits for anybody."""
    bed.add("slow", SLOW)
    soon = ("--set", "ssh.options=[ServerAliveInterval=2]")  # ssh gives up after 6 s, and not after 15
    started = bed.madrun("run", "--tags", "slow", "--on", "ssh", *HOSTS, *soon)
    running(bed)
    bed.nodes[1].run("ip", "link", "set", "eth0", "down")
    try:
        assert started.wait(120) == 3, started.output
        assert "node lost" in started.output
        ends_everywhere(bed, 60)
    finally:
        bed.nodes[1].run("ip", "link", "set", "eth0", "up")
    bed.gone()


@pytest.mark.long
def test_a_frozen_command_ends_all_nodes(bed: SshBed) -> None:
    bed.add("slow", SLOW)
    started = bed.madrun("run", "--tags", "slow", "--on", "ssh", *HOSTS)
    running(bed)
    began = time.monotonic()
    started.signal(signal.SIGSTOP)
    ends_everywhere(bed, 60)
    assert time.monotonic() - began > 5  # by its silence, and by nothing else
    started.signal(signal.SIGCONT)
    assert started.wait(60) == 130, started.output
    bed.gone()


@pytest.mark.torch
def test_a_model_trains_on_two_bare_nodes_by_one_command(engine: Any, base_image: str, tmp_path: Path) -> None:
    with (
        files_of_image(engine, base_image) as files,
        ssh_nodes(engine, 2, image=True, system=files) as made,
        ssh_bed(made, tmp_path) as bed,
    ):
        shutil.rmtree(bed.folder / "models")
        shutil.copytree(ROOT / "models", bed.folder / "models")
        shutil.copy(ROOT / "data.json", bed.folder)
        context = str({"MAD_CONTAINER_IMAGE": JOB_IMAGE, "docker_env_vars": {"OMP_NUM_THREADS": "1"}})
        done = bed.madrun("run", "--tags", "llama2_7b_tiny:steps=10", "--on", "ssh", *HOSTS, "-c", context)
        assert done.wait(240) == 0, done.output
        assert {(row["status"], row["nnodes"], row["launcher"]) for row in rows(bed)} == {("SUCCESS", "2", "torchrun")}
        bed.gone()
