"""The project's own cards under every runner, on two nodes that share nothing but a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from bed import Bed
from e2e_parts import ROOT, two_nodes
from own_ports import free_port
from three_nodes import JOB_IMAGE, Node

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
ALL = ["torchrun", "mpirun", "accelerate", "deepspeed"]
CONTEXT = {"MAD_CONTAINER_IMAGE": JOB_IMAGE, "docker_env_vars": {"OMP_NUM_THREADS": "1"}}


@pytest.fixture
def bed(two_with_runners: list[Node], tmp_path: Any) -> Iterator[Bed]:
    """Both nodes, with the project's cards."""
    made = Bed(two_with_runners, f"mark-{tmp_path.name}")
    for node in made.nodes:
        shutil.copytree(ROOT / "models", node.folder / "models")
        shutil.copy(ROOT / "data.json", node.folder)
    yield made
    made.clean()


@pytest.fixture(scope="module")
def losses() -> dict[str, float]:
    """The last loss under each runner so far."""
    return {}


@pytest.mark.torch
@pytest.mark.parametrize("runner", ALL)
def test_every_runner_makes_one_world_of_two_nodes(bed: Bed, losses: dict[str, float], runner: str) -> None:
    """As many ranks as are planned, on both hosts; what they compute is the same, whoever started them."""
    record = measured(bed, "sanity", runner, 2)
    found = metrics(record)
    assert (found["nodes"], found["ranks"], found["version_mismatches"]) == (2, 4, 0)
    said = logs(bed, record)
    assert list(said) == [f"node-{rank // 2}/ranks/rank-{rank}.log" for rank in range(4)]
    told = said["node-0/ranks/rank-0.log"]
    for rank in range(4):
        node, local = divmod(rank, 2)
        assert f"rank={rank} launched_as={rank} node={node} local_rank={local} local_size=2 host=n{node} " in told

    record = measured(bed, "llama2_7b_tiny:steps=10", runner, 1)  # steps that count; fewer are refused
    assert record["provenance"]["dataname"] == "tiny_corpus"
    found = metrics(record)
    assert found["tokens_per_sec_per_gpu"] > 0
    assert found["loss_last"] < found["loss_first"]
    losses[runner] = found["loss_last"]
    assert losses == dict.fromkeys(losses, pytest.approx(found["loss_last"], rel=1e-6))


def test_an_image_without_the_runners_program_is_an_error_before_anything_starts(docker_repository: Any) -> None:
    docker_repository.add("one", "echo started; $MULTI_NODE_RUNNER one.py\n")
    ports = {runner: free_port() for runner in ALL[1:]}
    started = {
        (runner, rank): docker_repository.start(
            *("run", "--tags", "one", "--results", f"{runner}-{rank}"),
            *("-c", two_nodes(rank, port, RUNNER=runner)),
        )
        for runner, port in ports.items()
        for rank in (0, 1)
    }
    for (runner, _), one in started.items():
        assert one.wait(120) == 2, docker_repository.output(one)
        words = f"RUNNER {runner} needs {runner}, which is not on the PATH of the image (node "
        assert words in docker_repository.output(one)
    consoles = [path.read_text() for path in docker_repository.folder.glob("*/runs/*/node-?/console.log")]
    assert len(consoles) >= len(started)
    assert not any("started" in text for text in consoles)


def test_a_stranger_in_host_list_ends_both_nodes(bed: Bed) -> None:
    bed.multi = {"RUNNER": "mpirun", "HOST_LIST": "n0:2,stranger:2", "NPROC_PER_NODE": 2}
    started = bed.start("sanity", context=CONTEXT)
    assert bed.codes(started, 120) == [3, 4]
    said = "multi_node_args.HOST_LIST: found stranger as the host of NODE_RANK 1, but this host is n1 ("
    assert f"node 1 (n1) could not begin: {said}" in started[0].output
    assert f"error: {said}" in started[1].output


def measured(bed: Bed, card: str, runner: str, ranks: int) -> dict[str, Any]:
    """The record of the card's run with so many ranks on each node."""
    bed.multi = {"RUNNER": runner, "NPROC_PER_NODE": ranks}
    started = bed.start(card, context=CONTEXT)
    assert bed.codes(started, 120) == [0, 0], [one.output for one in started]
    record = bed.record()
    assert (record["status"], record["runner"], record["nnodes"]) == ("SUCCESS", runner, 2)
    return record


def metrics(record: dict[str, Any]) -> dict[str, float]:
    return {metric["metric"]: metric["value"] for metric in record["metrics"]}


def logs(bed: Bed, record: dict[str, Any]) -> dict[str, str]:
    """What the ranks of a run printed, by the name of their logs; all of them are on node 0."""
    run = bed.nodes[0].folder / "results/runs" / record["run_id"]
    return {str(path.relative_to(run)): path.read_text() for path in sorted(run.glob("node-?/ranks/rank-?.log"))}
