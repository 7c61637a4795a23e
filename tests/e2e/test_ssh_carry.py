"""Bare nodes behind real sshds get madrun, the repository and the image from one command, and keep what they may."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from e2e_parts import one_at_a_time
from ssh_nodes import SshBed
from three_nodes import JOB_IMAGE

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
SCRIPT = """echo "rank $NODE_RANK of $NNODES"
if [ "$NODE_RANK" = 0 ]; then echo "performance: 3 x"; fi
"""


@pytest.fixture
def bed(by_ssh: SshBed, engine: Any) -> Iterator[SshBed]:
    """Two of its nodes are used; the job's image is in the engine of the head alone, under a name of this test."""
    name = f"madrun-test/carry-{by_ssh.base.name.lower()}:1"
    with one_at_a_time("saved-image"):  # others save theirs under that name
        engine.load_image((by_ssh.nodes[0].shared / "job.tar").read_bytes())
        engine.tag(JOB_IMAGE, *name.split(":"))
        engine.remove_image(JOB_IMAGE, noprune=True)
    by_ssh.add("hello", SCRIPT, images={"cpu": {"image": name}})
    try:
        yield by_ssh
    finally:
        subprocess.run(["docker", "rmi", name], capture_output=True)
        for node in by_ssh.nodes[:2]:
            node.run("docker", "rmi", "-f", name, check=False)


def launched(bed: SshBed, *words: str, code: int = 0) -> tuple[list[str], dict[str, Any]]:
    """A launch on two nodes to its end: what was carried as the terminal and as the journal say it."""
    folder = "ssh.folder=~/.cache/carried"
    started = bed.madrun("run", "--on", "ssh", "--hosts", "n0,n1", "--tags", "hello", "--set", folder, *words)
    assert started.wait(120) == code, started.output
    journal = max((bed.folder / "results/launches").iterdir()) / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    carried = next((event for event in events if event["event"] == "carried"), {})
    return [line for line in started.output.splitlines() if " carrying " in line], carried


def test_bare_nodes_run_and_a_second_launch_carries_nothing(bed: SshBed) -> None:
    subprocess.run(["git", "init", "-q", bed.folder], check=True)
    subprocess.run(["git", "-C", bed.folder, "add", "models"], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", bed.folder, *who, "commit", "-qm", "one"], check=True)
    said, carried = launched(bed)
    both = ["n0", "n1"]
    assert (carried["madrun"], carried["repository"], list(carried["images"].values())) == (both, both, [both]), said
    assert len(said) == 3 and all(line.endswith("to 2 of 2 hosts") for line in said), said
    said, carried = launched(bed)
    assert (said, carried["madrun"], carried["repository"], carried["images"]) == ([], [], [], {})
    rows = list(csv.DictReader((bed.folder / "results/perf.csv").read_text().splitlines()))
    told = [(row["status"], row["performance"], row["nnodes"], row["deployment_type"]) for row in rows]
    assert told == [("SUCCESS", "3", "2", "ssh")] * 2
    (record, _) = sorted((bed.folder / "results/runs").glob("*/record.json"))
    commit = subprocess.run(["git", "-C", bed.folder, "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    assert commit.strip() in record.read_text()
    assert json.loads(record.read_text())["command"][1:5] == ["run", "--on", "ssh", "--hosts"]  # what was typed here
    assert sorted(path.name for path in record.parent.iterdir() if path.is_dir()) == ["node-0", "node-1"]
    for node in bed.nodes[:2]:
        left = node.run("bash", "-c", "ls -A /root/.cache/carried/launches /dev/shm; ls -d /root/.cache/carried/*")
        assert "private" not in left and "madrun-0" not in left and "hello" not in left, left
    assert bed.left() == []


@pytest.mark.long
def test_a_full_disk_of_a_node_is_told_before_anything_runs(bed: SshBed) -> None:
    node = bed.nodes[1]
    node.run(
        "bash", "-c", "mkdir -p /root/.cache/carried && mount -t tmpfs -o size=200k,mode=700 tmpfs /root/.cache/carried"
    )
    try:
        started = bed.madrun(
            *("run", "--on", "ssh", "--hosts", "n0,n1", "--tags", "hello", "--set", "ssh.folder=~/.cache/carried")
        )
        assert started.wait(120) == 2, started.output
        assert "n1: /root/.cache/carried: found " in started.output
        assert "make room there, or set ssh.folder to another place" in started.output
        assert not list((bed.folder / "results").glob("runs/*"))
    finally:
        node.run("umount", "/root/.cache/carried")
    assert bed.left() == []
