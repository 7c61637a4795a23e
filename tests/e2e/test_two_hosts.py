"""Two network namespaces stand for two hosts: own addresses, own interfaces, no results directory in common."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cabled import cabled, ip
from e2e_parts import until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
ADDRESSES = ("10.231.77.1", "10.231.77.2")
MEASURED = 'echo "node $NODE_RANK by $GLOO_SOCKET_IFNAME and $NCCL_SOCKET_IFNAME"\necho performance: 3 speed\n'


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Names of two namespaces with a cable between them; gone afterwards."""
    names = (f"madrun-{os.getpid()}-a", f"madrun-{os.getpid()}-b")
    with cabled(names, ADDRESSES):
        yield names


def start(repository: Any, host: str, rank: int, *words: str, **context: object) -> subprocess.Popen[str]:
    args = {"MASTER_ADDR": ADDRESSES[0], "NNODES": 2, "NODE_RANK": rank}
    command = ["ip", "netns", "exec", host, sys.executable, "-m", "madrun", "run", "--tags", "pair"]
    command += [
        "--runtime",
        "process",
        "--results",
        f"results-{rank}",
        "-c",
        str({"multi_node_args": args, **context}),
        *words,
    ]
    with (repository.folder / f"out-{rank}.txt").open("w") as target:
        child = subprocess.Popen(
            command, cwd=repository.folder, stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.STDOUT, text=True
        )
    repository.started.append(child)
    return child


def output(repository: Any, rank: int) -> str:
    return (repository.folder / f"out-{rank}.txt").read_text()


def only(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def test_two_hosts_that_share_nothing_are_one_run(host_repository: Any, hosts: tuple[str, str]) -> None:
    host_repository.add("pair", MEASURED, metrics={"speed": {"across_nodes": "sum"}})
    nodes = [start(host_repository, host, rank) for rank, host in enumerate(hosts)]
    assert [node.wait(120) for node in nodes] == [0, 0], [output(host_repository, rank) for rank in (0, 1)]
    runs = [only(host_repository.folder / f"results-{rank}/runs") for rank in (0, 1)]
    assert runs[0].name == runs[1].name
    record = json.loads((runs[0] / "record.json").read_text())
    assert [metric["value"] for metric in record["metrics"]] == [6]
    assert not (runs[1] / "record.json").exists()
    plan = json.loads((runs[0] / "plan.json").read_text())
    assert [(node["gloo_ifname"], node["nccl_ifname"]) for node in plan["nodes"]] == [
        ("fab0", "=fab0"),
        ("fab1", "=fab1"),
    ]
    assert "node 1 by fab1 and =fab1" in (runs[1] / "node-1/console.log").read_text()


def test_a_host_that_is_cut_off_ends_the_run_on_both_sides(host_repository: Any, hosts: tuple[str, str]) -> None:
    host_repository.add("pair", "touch started\nsleep 600\n")
    nodes = [start(host_repository, host, rank) for rank, host in enumerate(hosts)]
    started = "results-*/runs/*/node-*/box/work/started"
    until(lambda: len(list(host_repository.folder.glob(started))) == 2, 60, "both scripts")
    ip("-n", hosts[1], "link", "set", "fab1", "down")
    assert [node.wait(60) for node in nodes] == [3, 3]
    assert "node 1" in output(host_repository, 0)
    assert "not heard of" in output(host_repository, 0)
    assert "node 0 was lost" in output(host_repository, 1)


@pytest.mark.parametrize(("context", "codes"), [({}, [3, 3]), ({"check_reach": False}, [0, 0])])
def test_behind_a_firewall_that_opens_two_ports_a_run_is_refused_unless_told_to_go_on(
    host_repository: Any, hosts: tuple[str, str], context: dict[str, bool], codes: list[int]
) -> None:
    for host in hosts:
        rule = ["ip", "netns", "exec", host, "iptables", "-A", "INPUT", "-i", "fab+", "-p", "tcp"]
        for words in (["--dport", "29501:29502", "-j", "ACCEPT"], ["--syn", "-j", "DROP"]):
            subprocess.run([*rule, *words], check=True, capture_output=True)
    host_repository.add("pair", MEASURED)
    nodes = [start(host_repository, host, rank, **context) for rank, host in enumerate(hosts)]
    assert [node.wait(120) for node in nodes] == codes, [output(host_repository, rank) for rank in (0, 1)]
    assert "2 of 2 connections between the nodes do not come about" in output(host_repository, 0)
    assert ("'check_reach': False" in output(host_repository, 1)) == (codes != [0, 0])
    records = list(host_repository.folder.glob("results-0/runs/*/record.json"))
    gates = [json.loads(record.read_text())["gate"] for record in records]
    assert [gate["unreachable"] for gate in gates] == ([[[0, 1], [1, 0]]] if codes == [0, 0] else [])
