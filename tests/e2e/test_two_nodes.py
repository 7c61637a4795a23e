"""Two agents on this machine are one run: one id, one record, one verdict."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

import pytest
from e2e_parts import containers, two_nodes, until
from own_ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
MEASURED = 'echo "performance: 2.5 speed"\n'


def run_both(repository: Any, runtime: str, contexts: list[str], *words: str) -> list[subprocess.Popen[str]]:
    nodes = [repository.start("run", "--runtime", runtime, *words, "-c", context) for context in contexts]
    for node in nodes:
        node.wait(120)
    return nodes


def test_two_nodes_share_one_run_and_node_0_alone_records(repository: Any, runtime: str, engine: Any) -> None:
    repository.add("pair", 'echo "rank $NODE_RANK of $NNODES, $MULTI_NODE_RUNNER"\n' + MEASURED, tags=["two"])
    repository.add("other", MEASURED, tags=["two"])
    port = free_port()
    nodes = run_both(repository, runtime, [two_nodes(rank, port) for rank in (0, 1)], "--tags", "two")
    outputs = [repository.output(node) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    runs = sorted((repository.folder / "results/runs").iterdir())
    assert len(runs) == 2
    records = {record["card"]: record for record in repository.records()}
    pair = records["pair"]
    assert [node["node"] for node in pair["nodes"]] == [0, 1]
    run = repository.folder / "results/runs" / pair["run_id"]
    for rank in (0, 1):
        console = (run / f"node-{rank}/console.log").read_text()
        assert f"rank {rank} of 2" in console
        assert f"--node_rank {rank}" in console
    assert "the record is on node 0" in outputs[1]
    rows = (repository.folder / "results/perf.csv").read_text().splitlines()
    assert len(rows) == 3
    assert not containers(engine, repository.folder)


@pytest.mark.parametrize("culprit", [0, 1])
def test_a_script_that_fails_on_one_node_ends_the_other(repository: Any, runtime: str, culprit: int) -> None:
    repository.add(
        "uneven", f'if [ "$NODE_RANK" = {culprit} ]; then echo the cause; exit 9; fi\nsleep 600\n' + MEASURED
    )
    port = free_port()
    nodes = run_both(repository, runtime, [two_nodes(rank, port) for rank in (0, 1)], "--tags", "uneven")
    assert [node.returncode for node in nodes] == [3, 3]
    for node in nodes:
        output = repository.output(node)
        assert f"exit code 9 on node {culprit}" in output
        assert "the cause" in output
    (record,) = repository.records()
    assert (record["culprit"]["node"], record["culprit"]["exit_code"]) == (culprit, 9)


@pytest.mark.parametrize(
    ("differing", "extra", "words"),
    [
        ({"NNODES": "3"}, "", "NNODES differs"),
        ({}, ":steps=3", "args differs"),
        ({"NPROC_PER_NODE": "2"}, "", "nproc_per_node differs"),
    ],
    ids=["NNODES", "arguments", "processes"],
)
def test_nodes_that_differ_are_refused_before_anything_starts(
    repository: Any, runtime: str, engine: Any, differing: dict[str, str], extra: str, words: str
) -> None:
    repository.add("card", "touch started\n" + MEASURED)
    port = free_port()
    given = (("card", two_nodes(0, port)), (f"card{extra}", two_nodes(1, port, **differing)))
    nodes = [repository.start("run", "--runtime", runtime, "--tags", card, "-c", context) for card, context in given]
    codes = [node.wait(60) for node in nodes]
    assert all(code in (3, 4) for code in codes), [repository.output(node) for node in nodes]
    assert any(words in repository.output(node) for node in nodes), [repository.output(node) for node in nodes]
    assert not list(repository.folder.glob("results/runs/*/node-*/console.log"))
    assert not containers(engine, repository.folder)


def test_two_that_are_both_node_0_do_not_start(repository: Any, runtime: str, engine: Any) -> None:
    """The one that comes first waits for node 1; the other one finds its port in use."""
    repository.add("card", "touch started\n" + MEASURED)
    port = free_port()
    words = ("run", "--runtime", runtime, "--tags", "card", "-c", two_nodes(0, port))
    both = [repository.start(*words) for _ in range(2)]
    until(lambda: any(one.poll() is not None for one in both), 60, "the end of one of them")
    (refused,) = [one for one in both if one.poll() is not None]
    (waiting,) = [one for one in both if one is not refused]
    assert refused.returncode == 4
    assert "in use" in repository.output(refused)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(60) == 130, repository.output(waiting)
    assert not list(repository.folder.glob("results/runs/*/node-*/console.log"))
    assert not containers(engine, repository.folder)


def test_a_node_that_never_comes_is_named_at_the_time_limit(host_repository: Any) -> None:
    host_repository.add("card", MEASURED)
    words = ("run", "--tags", "card", "--runtime", "process", "--join-timeout", "2s", "-c")
    port = free_port()
    never = "node 1 of 2 had not joined", f"node 0 did not answer at 127.0.0.1 port {port + 1}"
    for rank, missing in enumerate(never):
        done = host_repository.run(*words, two_nodes(rank, port))
        assert done.returncode == 3
        assert missing in done.stderr


def test_the_command_of_the_manual_is_understood_as_it_is_quoted(host_repository: Any) -> None:
    host_repository.add("llama2_7b", MEASURED)
    mirror = host_repository.folder / "mirror"
    mirror.mkdir()
    typed = f"""madrun plan --tags llama2_7b --additional-context "{{'multi_node_args': {{'RUNNER': 'torchrun',
        'MASTER_ADDR': '10.227.23.63', 'MASTER_PORT': '29501', 'NNODES': '2', 'NODE_RANK': '1',
        'NCCL_SOCKET_IFNAME': 'ens14np0', 'GLOO_SOCKET_IFNAME': 'ens14np0'}}}}" --force-mirror-local {mirror}"""
    import sys

    script = typed.replace("madrun", f"{sys.executable} -m madrun", 1) + " --runtime process"
    done = subprocess.run(["bash", "-c", script], cwd=host_repository.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    runner = "torchrun --nnodes 2 --node_rank 1 --nproc_per_node 1 --master_addr 10.227.23.63 --master_port 29501"
    assert f"MULTI_NODE_RUNNER={runner}" in done.stdout
    assert "NCCL_SOCKET_IFNAME=ens14np0" in done.stdout
    on_node_0 = script.replace("'NODE_RANK': '1'", "'NODE_RANK': '0'")
    refused = subprocess.run(["bash", "-c", on_node_0], cwd=host_repository.folder, capture_output=True, text=True)
    assert refused.returncode == 4
    assert "10.227.23.63" in refused.stderr
    assert "127.0.0.1" in refused.stderr  # the addresses that this host has
