"""Three hosts that share nothing: at the end node 0 has what every node left, whatever became of the run."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cabled import ip, namespaces
from e2e_parts import until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
ADDRESSES = ("10.231.78.1", "10.231.78.2", "10.231.78.3")
MEASURED = "echo performance: 3 speed\n"
LEAVES = """
for ((i = 0; i < 3000; i++)); do echo "node $NODE_RANK line $i"; done
mkdir -p made/deep made/empty
echo "from $NODE_RANK" >made/deep/file.txt
ln -s /etc/hostname made/link
head -c 3000000 /dev/urandom >made/blob
"""


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[str, ...]]:
    """Names of three namespaces with a switch between them; gone afterwards."""
    switch = f"madrun-{os.getpid()}-s"
    names = tuple(f"madrun-{os.getpid()}-{number}" for number in range(3))
    with namespaces((switch, *names)):
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for name, address in zip(names, ADDRESSES, strict=True):
            port = f"p{name[-1]}"
            ip("link", "add", port, "netns", switch, "type", "veth", "peer", "name", "fab0", "netns", name)
            ip("-n", switch, "link", "set", port, "master", "br0", "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "fab0")
            ip("-n", name, "link", "set", "fab0", "up")
        yield names


class Nodes:
    """The command on each host, with results of its own below the test's folder."""

    def __init__(self, repository: Any, hosts: tuple[str, ...]) -> None:
        self.repository, self.hosts = repository, hosts
        self.folder: Path = repository.folder

    def start(self, rank: int, results: str = "", **context: Any) -> subprocess.Popen[str]:
        args = {"MASTER_ADDR": ADDRESSES[0], "NNODES": len(self.hosts), "NODE_RANK": rank}
        words = ["run", "--tags", "card", "--runtime", "process", "--results", results or f"results-{rank}"]
        words += ["-c", str({"multi_node_args": args, "grace": "1s", **context})]
        with (self.folder / f"out-{rank}.txt").open("w") as target:
            child = subprocess.Popen(
                ["ip", "netns", "exec", self.hosts[rank], sys.executable, "-m", "madrun", *words],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.repository.started.append(child)
        return child

    def run(self, **context: Any) -> list[int]:
        """Exit codes of all nodes."""
        nodes = [self.start(rank, **context) for rank in range(len(self.hosts))]
        return [node.wait(120) for node in nodes]

    def output(self, rank: int) -> str:
        return (self.folder / f"out-{rank}.txt").read_text()

    def path(self, rank: int) -> Path:
        """The run's directory as this host has it."""
        (found,) = (self.folder / f"results-{rank}/runs").iterdir()
        return found

    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads((self.path(0) / "record.json").read_text())
        return record


@pytest.fixture
def nodes(host_repository: Any, hosts: tuple[str, ...]) -> Nodes:
    return Nodes(host_repository, hosts)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def kept(folder: Path) -> dict[str, str]:
    """Every file below a node's directory with its hash; links by what they say."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name == "ended.json":
            continue  # how the run ended for this node, written when node 0 has told it
        found[name] = f"-> {path.readlink()}" if path.is_symlink() else "dir" if path.is_dir() else digest(path)
    return found


def test_node_0_has_all_that_each_node_left_to_the_byte(nodes: Nodes) -> None:
    nodes.repository.add("card", LEAVES + MEASURED, metrics={"speed": {"across_nodes": "sum"}})
    assert nodes.run() == [0, 0, 0], [nodes.output(rank) for rank in range(3)]
    record = nodes.record()
    for rank in (1, 2):
        here, there = kept(nodes.path(0) / f"node-{rank}"), kept(nodes.path(rank) / f"node-{rank}")
        assert here == there
        for name in ("console.log", "host.json", "context.json", "environment.json", "driver.sh", "steps.log"):
            assert name in here
        assert here["output/made/link"] == "-> /etc/hostname"
        assert here["output/made/empty"] == "dir"
        assert record["nodes"][rank]["console_sha256"] == here["console.log"]
        assert record["nodes"][rank]["timings"]["deliver"] > 0
    assert not any("not brought" in note for note in record["notes"])
    assert not list(nodes.path(0).glob("**/.*.part"))
    assert not (nodes.path(0) / ".node-0").exists()
    journal = [json.loads(line) for line in (nodes.path(0) / "journal.jsonl").read_text().splitlines()]
    assert {line["node"] for line in journal if line["event"] == "ended"} == {0, 1, 2}
    assert {line["node"] for line in journal if line["event"] == "collected"} == {0, 1, 2}


def test_nodes_that_share_the_results_bring_nothing(nodes: Nodes) -> None:
    nodes.repository.add("card", MEASURED, metrics={"speed": {"across_nodes": "sum"}})
    started = [nodes.start(rank, results="results-0") for rank in range(3)]
    assert [node.wait(120) for node in started] == [0, 0, 0], nodes.output(0)
    assert all("deliver" not in outcome["timings"] for outcome in nodes.record()["nodes"])
    assert (nodes.path(0) / "node-2/console.log").exists()


def test_a_failed_run_is_brought_home_too_and_the_record_says_what_was_too_large(nodes: Nodes) -> None:
    nodes.repository.add("card", LEAVES + '[[ $NODE_RANK != 1 ]] || { echo "it broke here"; exit 7; }\nsleep 600\n')
    assert nodes.run(collect_limit="2m") == [3, 3, 3]
    record = nodes.record()
    assert record["culprit"]["node"] == 1
    assert "it broke here" in (nodes.path(0) / "node-1/console.log").read_text()
    assert (nodes.path(0) / "node-1/output/made/deep/file.txt").read_text() == "from 1\n"
    assert not (nodes.path(0) / "node-1/output/made/blob").exists()
    (note,) = [note for note in record["notes"] if note.startswith("node 1: output/made/blob was not brought")]
    assert "collect_limit" in note
    assert f"{nodes.path(1)}/node-1" in note


def test_ctrl_c_at_a_node_brings_its_files_home(nodes: Nodes) -> None:
    nodes.repository.add("card", LEAVES + "touch started\nsleep 600\n")
    started = [nodes.start(rank) for rank in range(3)]
    pattern = "results-*/runs/*/node-*/box/work/started"
    until(lambda: len(list(nodes.folder.glob(pattern))) == 3, 60, "all scripts")
    started[2].send_signal(signal.SIGINT)
    assert [node.wait(60) for node in started] == [130, 130, 130]
    for rank in (1, 2):
        assert digest(nodes.path(0) / f"node-{rank}/output/made/blob") == digest(
            nodes.path(rank) / f"node-{rank}/output/made/blob"
        )


def test_a_full_disk_on_node_0_is_a_note_and_no_failure_of_the_run(nodes: Nodes) -> None:
    nodes.repository.add("card", LEAVES + MEASURED, metrics={"speed": {"across_nodes": "sum"}})
    results = nodes.folder / "results-0"
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=34m", "tmpfs", str(results)], check=True)
    try:
        # node 0's own blob leaves less than what deliveries leave free; the small files still come
        assert nodes.run() == [0, 0, 0], nodes.output(0)
        record = nodes.record()
        assert record["valid"]
        notes = [note for note in record["notes"] if "not brought to node 0" in note]
        assert any("node 1: " in note and "no room" in note for note in notes), record["notes"]
        assert (nodes.path(1) / "node-1/output/made/blob").exists()
    finally:
        subprocess.run(["umount", "-l", str(results)], check=True)
