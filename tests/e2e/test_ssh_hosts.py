"""Hosts that cannot take part are told before anything starts, all at once; others are had as ssh has them."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ssh_nodes import SshBed
from three_nodes import Node

from madrun.backends.ssh.connection import Connections
from madrun.backends.ssh.settings import SshSettings

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]


@contextmanager
def without_python(node: Node) -> Iterator[None]:
    """Its python is a file that is no program."""
    node.run("mount", "--bind", "/dev/null", "/usr/bin/python3.11")
    try:
        yield
    finally:
        node.run("umount", "/usr/bin/python3.11")


@contextmanager
def silent_port() -> Iterator[str]:
    """A port of this machine that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def bad_hosts(bed: SshBed, silent: str) -> list[str]:
    """Names by which the nodes cannot be had, each for a reason of its own."""
    address = bed.nodes[1].address
    other_key = bed.base / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other_key)], check=True)
    changed = bed.base / "changed_known"
    changed.write_text(f"{address} {other_key.with_suffix('.pub').read_text()}")
    return [
        "nosuch.invalid",
        bed.alias("stranger", HostName=address, IdentityFile=str(other_key), PreferredAuthentications="publickey"),
        bed.alias("passworded", HostName=address, PubkeyAuthentication="no"),
        bed.alias("changed", HostName=address, UserKnownHostsFile=str(changed)),
        bed.alias("unknown", HostName=address, UserKnownHostsFile="/dev/null"),
        bed.alias("refused", HostName=address, Port="23"),
        bed.alias("silent", HostName="127.0.0.1", Port=silent),
        bed.alias("again", HostName=bed.nodes[0].address),
    ]


def test_every_bad_host_is_told_by_one_command_and_nothing_is_started(by_ssh: SshBed) -> None:
    bed = by_ssh
    bed.add("one", "echo performance: 1 speed\n")
    with silent_port() as port, without_python(bed.nodes[2]):
        hosts = ",".join(["n0", "n1", "n2", *bad_hosts(bed, port)])
        words = ["run", "--on", "ssh", "--hosts", hosts, "--tags", "one", "--set", "ssh.connect_timeout=8s"]
        started = bed.madrun(*words, terminal=True)
        code, output = started.wait(120), started.output
    assert code == 2, output
    assert "--on ssh: 9 of 11 hosts cannot take part, so nothing was started" in output
    for line in (
        "nosuch.invalid: unknown host: ssh: Could not resolve hostname nosuch.invalid",
        "stranger: no key is accepted, and a password cannot be asked for: root@",
        "passworded: no key is accepted, and a password cannot be asked for: root@",
        "changed: host key changed: WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!",
        "unknown: unknown host key: Host key verification failed.",
        "refused: connection refused: ssh: connect to host",
        "silent: no answer: Conn",
        "again: two names of one machine: n0 is the same machine, n0",
        "n2: no python: no python3 from 3.10 on",
        "ssh-keygen -R changed, then ssh changed once",
        "ssh-copy-id stranger",
        "type ssh unknown once and compare its key",
    ):
        assert line in output
    assert "n0: " not in output.replace("machine: n0 ", "")
    assert "n1: " not in output
    assert "password:" not in output
    assert not (bed.folder / "results/runs").exists()
    for node in bed.nodes:
        assert node.run("bash", "-c", "ls -d /root/.cache/madrun 2>/dev/null; true") == ""
    bed.gone()


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("./hosts", "./hosts: line 2: slots=0: found '0' processes, allowed: 1 to 1024"),
        pytest.param("n0,n1,n0", "found n0 twice; allowed: each host once", marks=pytest.mark.long),
    ],
)
def test_hosts_that_are_typed_wrongly_are_told_before_any_is_asked(bare_head: SshBed, hosts: str, said: str) -> None:
    (bare_head.folder / "hosts").write_text("n0 slots=2\nn1 slots=0\n")
    started = bare_head.madrun("run", "--on", "ssh", "--hosts", hosts, "--tags", "one")
    assert started.wait(60) == 4, started.output
    assert said in started.output


def test_processes_of_a_file_of_hosts_are_those_of_every_node(bare_head: SshBed) -> None:
    (bare_head.folder / "hosts").write_text("# two of them\nn1 slots=3\nn0:3\nn2 slots=9\n")
    words = ["run", "--on", "ssh", "--hosts", "hosts", "--nodes", "2", "--tags", "one", "--dry-run"]
    started = bare_head.madrun(*words)
    assert started.wait(60) == 0, started.output
    assert "multi_node_args.NPROC_PER_NODE=3" in started.output
    ranks = {line.split("MADRUN_NODE_RANK=")[1][0]: line for line in started.output.splitlines() if "_RANK=" in line}
    assert (" n1 " in ranks["0"], " n0 " in ranks["1"], "2" in ranks) == (True, True, False)


@pytest.fixture
def bare_head(tmp_path: Path) -> SshBed:
    """A head without a node, with a card."""
    bed = SshBed([], tmp_path, "mark")
    bed.lay_out()
    bed.add("one", "echo performance: 1 speed\n")
    return bed


@pytest.mark.long
def test_many_logins_through_a_busy_jump_host_and_a_talkative_shell_all_arrive(
    by_ssh: SshBed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed, count = by_ssh, 10  # of more than 3 that are under way the nodes' sshd drops half and more
    log = bed.nodes[0].shared / "sshd.log"
    before = len(log.read_text())
    monkeypatch.setenv("PATH", bed.env["PATH"])
    for number in range(count):
        bed.alias(f"j{number}", HostName=bed.nodes[1].address, ProxyJump="n0")
    bed.nodes[1].run("bash", "-c", "echo 'echo Welcome; echo to n1 >&2' >/root/.bashrc")
    try:
        with Connections(SshSettings()) as connections:
            replies = connections.run([f"j{number}" for number in range(count)], "echo; uname -n")
    finally:
        bed.nodes[1].run("rm", "/root/.bashrc")
    assert "MaxStartups" in log.read_text()[before:]
    assert [(reply.code, reply.out.split()[-1:]) for reply in replies] == [(0, [b"n1"])] * count, replies
    bed.gone()


def test_a_login_with_a_second_factor_that_the_user_holds_is_used(
    by_ssh: SshBed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bed = by_ssh
    monkeypatch.setenv("PATH", bed.env["PATH"])
    bed.alias("held", HostName=bed.nodes[0].address, PubkeyAuthentication="no", ControlPath=f"{tmp_path}/held")
    users: Any = bed.ssh("-o", "PubkeyAuthentication=yes", "-M", "-f", "-N", "held")
    assert users.returncode == 0, users.stderr
    try:
        with Connections(SshSettings()) as connections:
            (reply,) = connections.run(["held"], "uname -n")
        assert (reply.code, reply.out) == (0, b"n0\n"), reply.said
        assert bed.ssh("-O", "check", "held").returncode == 0
    finally:
        bed.ssh("-O", "exit", "held")
    bed.gone()


@pytest.mark.long
def test_a_cut_network_is_told_within_seconds(by_ssh: SshBed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed = by_ssh
    monkeypatch.setenv("PATH", bed.env["PATH"])
    with Connections(SshSettings()) as connections:
        assert connections.open(["n0", "n1"]) == {}
        bed.nodes[1].run("ip", "link", "set", "eth0", "down")
        try:
            began = time.monotonic()
            first, second = connections.run(["n0", "n1"], "sleep 1; uname -n", limit_s=900)
            assert time.monotonic() - began < 60
        finally:
            bed.nodes[1].run("ip", "link", "set", "eth0", "up")
        assert (first.code, first.out) == (0, b"n0\n")
        assert second.code == 255
        assert "the connection was lost: Timeout, server" in connections.open(["n1"])["n1"]
