"""mpirun of MPICH, and mpirun by ssh: two agents on this machine, each with a container of its own."""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from e2e_parts import ROOT, containers, two_nodes
from own_ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.torch, pytest.mark.beside]
MINE = "a 'quoted' word"
RANKS = {"unit": "ranks", "higher_is_better": True, "across_nodes": "sum"}
# What the script exports reaches the ranks of the other node, and a rank's own node stays its own.
EXPORTS = """
export MINE="a 'quoted' word" LATE_TOKEN=never-in-a-file
$MULTI_NODE_RUNNER bash -c 'echo "rank $RANK of $WORLD_SIZE on $NODE_RANK: $MINE ${#LATE_TOKEN} ${SSH_CONNECTION-}"'
$MULTI_NODE_RUNNER bash -c '[ $LOCAL_RANK = 1 ] || echo "performance: 2 ranks"'
"""
FAILS = """
$MULTI_NODE_RUNNER bash -c 'if [ $RANK = 3 ]; then echo the cause; exit 7; fi; exec sleep 600'
"""


@pytest.fixture(scope="module")
def mpich_image(engine: Any, runners_image: str) -> Iterator[str]:
    """The same image, in which `mpirun` is MPICH's."""
    made = engine.create_container(runners_image, ["ln", "-sf", "mpirun.mpich", "/usr/bin/mpirun"])
    try:
        engine.start(made)
        engine.wait(made)
        name = f"{runners_image.partition(':')[0]}-mpich:{os.getpid()}"
        engine.commit(made, *name.split(":"))
    finally:
        engine.remove_container(made, force=True)
    yield name
    engine.remove_image(name, force=True)


def run(repository: Any, port: int, *words: str, **more: str) -> list[str]:
    """What both agents printed; each has to have ended with the same code, which stands first."""
    given = {"RUNNER": "mpirun", "NPROC_PER_NODE": "2", **more}
    image = {"MAD_CONTAINER_IMAGE": repository.image}
    contexts = [str(ast.literal_eval(two_nodes(rank, port, **given)) | image) for rank in (0, 1)]
    nodes = [repository.start("run", *words, "-c", context) for context in contexts]
    codes = [node.wait(120) for node in nodes]
    outputs = [repository.output(node) for node in nodes]
    assert codes[0] == codes[1], outputs
    return [str(codes[0]), *outputs]


def check_world(repository: Any, engine: Any, port: int, **more: str) -> None:
    """Sanity, exports and a rank that fails, in three runs."""
    shutil.copytree(ROOT / "models", repository.folder / "models")
    repository.add("exports", EXPORTS, tags=["exports"], metrics={"ranks": RANKS})
    repository.add("fails", FAILS, tags=["fails"])
    said = run(repository, port, "--tags", "sanity", "exports", **more)
    assert said[0] == "0", said
    records = {record["card"]: record for record in repository.records()}
    found = {metric["metric"]: metric["value"] for metric in records["sanity"]["metrics"]}
    assert (found["nodes"], found["ranks"], found["version_mismatches"]) == (2, 4, 0)
    assert [metric["value"] for metric in records["exports"]["metrics"]] == [4]  # each node counts once

    kept = repository.folder / "results/runs" / records["exports"]["run_id"]
    for rank in range(4):
        lines = (kept / f"node-{rank // 2}/ranks/rank-{rank}.log").read_text().splitlines()
        assert lines[0].rstrip() == f"rank {rank} of 4 on {rank // 2}: {MINE} 15"
    assert not [path for path in kept.rglob("*") if path.is_file() and b"never-in-a-file" in path.read_bytes()]
    assert not list(kept.glob("node-?/box"))

    assert run(repository, port, "--tags", "fails", **more)[0] == "3"
    culprit = repository.records()[-1]["culprit"]
    assert (culprit["node"], culprit["rank"], culprit["exit_code"]) == (1, 3, 7)
    assert culprit["last_lines"] == ["the cause"]
    assert not containers(engine, repository.folder)


def test_mpich_makes_one_world_of_two_nodes(
    make_repository: Callable[[str], Any], mpich_image: str, engine: Any
) -> None:
    check_world(make_repository(mpich_image), engine, free_port())


def test_ssh_with_a_key_of_the_run_reaches_the_other_node(
    make_repository: Callable[[str], Any], runners_image: str, engine: Any
) -> None:
    check_world(make_repository(runners_image), engine, free_port(), MPI_LAUNCH="ssh")
