"""madrun doctor on three nodes: each has a fault of its own and every one is named; healthy ones sum together."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bed import Bed
from e2e_parts import until
from own_ports import free_port
from servers import sshd
from three_nodes import Node, Started

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
FAKE_TIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
LISTEN = "import socket, time; s = socket.create_server(('', int({port}))); print('up', flush=True); time.sleep(600)"


@pytest.fixture
def bed(three: list[Any], tmp_path: Path) -> Iterator[Bed]:
    """All three nodes, each with the card that stands for the image."""
    made = Bed(three, f"mark-{tmp_path.name}")
    made.add("one", "echo performance: 1 speed\n")
    yield made
    made.clean()


def visit(
    bed: Bed, rank: int, port: int, *words: str, under: Sequence[str] = (), context: dict[str, Any] | None = None
) -> Started:
    """`madrun doctor` on one node, started by the words of `under`."""
    more = dict(context or {})
    multi = {"MASTER_ADDR": bed.nodes[0].address, "MASTER_PORT": port, "NNODES": 3, "NODE_RANK": rank}
    multi |= more.pop("multi_node_args", {})
    said = {"multi_node_args": multi, "memlock": "default", "nofile": None} | more
    node = bed.nodes[rank]
    given = ["doctor", "--tags", "one", "--runtime", bed.runtime, "-c", str(said), *words]
    started = Started(node, [*under, sys.executable, "-m", "madrun", *given], terminal=False)
    node.started.append(started)
    return started


@contextmanager
def loopback_name(node: Node) -> Iterator[None]:
    """The node's name means 127.0.1.1 there, as Debian's installer leaves it."""
    node.run("bash", "-c", "cp /etc/hosts /tmp/hosts; { echo 127.0.1.1 $HOSTNAME; cat /tmp/hosts; } >/etc/hosts")
    try:
        yield
    finally:
        node.run("bash", "-c", "cat /tmp/hosts >/etc/hosts")


def shared_memory(bed: Bed, size: str) -> None:
    """So much of it on every node."""
    for node in bed.nodes:
        node.run("mount", "-o", f"remount,size={size}", "/dev/shm")


@contextmanager
def listening(node: Node, port: int) -> Iterator[None]:
    """Something of the node itself has the port."""
    other = Started(node, [sys.executable, "-c", LISTEN.format(port=port)], terminal=False)
    try:
        while "up" not in other.output:
            assert other.child.poll() is None
        yield
    finally:
        other.kill()


def named(document: dict[str, Any], rank: int) -> dict[str, tuple[str, str]]:
    """State and text of each finding of a node by its name."""
    (node,) = [node for node in document["nodes"] if node["rank"] == rank]
    return {finding["name"]: (finding["state"], finding["text"]) for finding in node["findings"]}


def document_in(output: str) -> dict[str, Any]:
    """The JSON document behind the lines of progress."""
    return dict(json.loads(output[output.index("{\n") :]))


@pytest.mark.beside
@pytest.mark.skipif(not FAKE_TIME, reason="needs libfaketime")
def test_every_planted_fault_is_named_with_its_node(bed: Bed) -> None:
    port = 31550
    clock = ["env", f"LD_PRELOAD={FAKE_TIME[0]}", "FAKETIME=+40s", "DONT_FAKE_MONOTONIC=1"]
    with loopback_name(bed.nodes[1]), listening(bed.nodes[0], port):
        started = [
            visit(bed, 0, port, "--json"),
            visit(bed, 1, port, context={"shm_size": "16m"}),
            visit(bed, 2, port, under=clock, context={"multi_node_args": {"GLOO_SOCKET_IFNAME": "nope0"}}),
        ]
        codes = bed.codes(started, 120)
    shown = "\n---\n".join(one.output for one in started)
    assert codes == [3, 3, 3], shown
    document = document_in(started[0].output)
    first, second, third = (named(document, rank) for rank in (0, 1, 2))
    assert first["MASTER_PORT"][0] == "FAIL", shown
    assert f"{port} is in use on this host by process" in first["MASTER_PORT"][1]
    assert second["shm inside"][0] == "FAIL", shown
    assert "/dev/shm 16 MiB" in second["shm inside"][1]
    assert second["host name"][0] in ("WARN", "FAIL"), shown
    assert "127.0.1.1" in second["host name"][1]
    assert third["interfaces"][0] == "FAIL", shown
    assert "nope0" in third["interfaces"][1]
    assert third["clock offset"][0] == "WARN", shown
    (ahead,) = re.findall(r"^(\d+\.\d) s ahead of node 0's clock", third["clock offset"][1])
    assert 30 < float(ahead) < 50
    assert second["clock offset"][0] == "PASS", shown
    assert document["overall"]["exit_code"] == 3
    (reduced,) = [finding for finding in document["together"] if finding["name"] == "all-reduce"]
    assert reduced["state"] == "UNKNOWN"
    assert reduced["text"].startswith("not run: ")
    for output, faults in ((started[1].output, ("16 MiB", "127.0.1.1")), (started[2].output, ("nope0", "s ahead of"))):
        assert [fault for fault in faults if fault not in output] == []
        assert document["overall"]["text"] in output
    nothing_left(bed)


def nothing_left(bed: Bed) -> None:
    """No container, no results and no temporary files on any node."""
    assert bed.left() == []
    for node in bed.nodes:
        assert [path.name for path in node.folder.iterdir() if path.name != "models"] == []
        assert "madrun-doctor" not in node.run("ls", "-a", "/tmp")


@pytest.mark.beside
@pytest.mark.torch
def test_three_healthy_nodes_sum_together_and_end_with_0(bed: Bed) -> None:
    pytest.importorskip("torch")
    bed.runtime = "process"
    shared_memory(bed, "1g")  # the engine of this machine gives its containers 64 MiB
    try:
        started = [visit(bed, rank, 31560, context={"multi_node_args": {"RUNNER": "plain"}}) for rank in (0, 1, 2)]
        codes = bed.codes(started, 120)
    finally:
        shared_memory(bed, "64m")
    shown = "\n---\n".join(one.output for one in started)
    assert codes == [0, 0, 0], shown
    assert "  all-reduce  PASS " in started[0].output, shown
    assert "3 ranks on 3 hosts (n0, n1, n2), gloo" in started[0].output
    assert "sums right" in started[0].output
    assert [f"node {rank} (n{rank}):" in started[0].output for rank in (0, 1, 2)] == [True] * 3
    nothing_left(bed)


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An sshd of this machine's own, known to ssh as near, beside and, with a wrong port, as far."""
    with sshd(tmp_path) as server:
        config = tmp_path / "client"
        config.write_text(
            f"Host near beside\n  Port {server.port}\n  User {server.user}\n  IdentityFile {server.key}\n"
            f"  StrictHostKeyChecking accept-new\n  UserKnownHostsFile {tmp_path}/known\n"
            "Host far\n  Port 1\nHost *\n  HostName 127.0.0.1\n"
        )
        program = tmp_path / "bin/ssh"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {config} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        yield tmp_path


def by_ssh(folder: Path, nodes: str) -> subprocess.Popen[str]:
    """`madrun doctor --nodes` in this folder, on free ports, by the process runtime."""
    context = {"multi_node_args": {"RUNNER": "plain", "MASTER_PORT": free_port()}}
    home = folder / "models/one"
    home.mkdir(parents=True)
    (home / "model.yaml").write_text("name: one\nscript: run.sh\n")
    (home / "run.sh").write_text("echo performance: 1 speed\n")
    words = ["doctor", "--nodes", nodes, "--tags", "one", "--runtime", "process", "-c", str(context), "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "madrun", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def remote_doctors(folder: Path) -> list[int]:
    """Processes of a visit that were started by sshd in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"doctor" in words and b"--nodes" not in words and (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.beside
def test_hosts_are_visited_by_ssh_from_one_machine(ssh: Path) -> None:
    child = by_ssh(ssh, "near,beside")
    out, err = child.communicate(timeout=120)
    document = json.loads(out)
    assert [node["rank"] for node in document["nodes"]] == [0, 1], err
    for rank in (0, 1):
        found = named(document, rank)
        assert found["reach"][0] == "PASS", out
        assert "shm inside" in found
    assert "all-reduce" in {finding["name"] for finding in document["together"]}
    failed = {f["name"] for node in document["nodes"] for f in node["findings"] if f["state"] == "FAIL"}
    assert child.returncode == (3 if failed else 0), out
    assert failed <= {"shared memory", "host name", "free disk"}, out  # of the machine that the test runs on
    assert not (ssh / "results").exists()


@pytest.mark.beside
def test_a_host_that_ssh_does_not_reach_is_named_and_the_other_shows_itself(ssh: Path) -> None:
    child = by_ssh(ssh, "near,far")
    out, err = child.communicate(timeout=120)
    assert child.returncode == 3, err
    document = json.loads(out)
    assert named(document, 1) == {"ssh": ("FAIL", "ssh: connect to host 127.0.0.1 port 1: Connection refused")}
    assert "node 1 of 2 had not" in named(document, 0)["nodes"][1]
    assert "shm inside" in named(document, 0)


@pytest.mark.beside
def test_ctrl_c_ends_what_was_started_on_other_hosts(ssh: Path) -> None:
    child = by_ssh(ssh, "near,far")  # the one waits for the other for seconds
    until(lambda: bool(remote_doctors(ssh)), 60, "the visit on the other host")
    os.kill(child.pid, signal.SIGINT)
    child.communicate(timeout=120)
    assert child.returncode == 130
    until(lambda: not remote_doctors(ssh), 60, "the end of the visit there")
