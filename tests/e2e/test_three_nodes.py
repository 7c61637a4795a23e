"""Three nodes with nothing in common but a network are one run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from bed import Bed
from e2e_parts import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


@pytest.fixture
def bed(three: list[Any], tmp_path: Any) -> Iterator[Bed]:
    """All three nodes, with containers."""
    made = Bed(three, f"mark-{tmp_path.name}")
    yield made
    made.clean()


@pytest.mark.parametrize("runtime", ["docker", "process"])
def test_three_nodes_that_share_nothing_are_one_run(bed: Bed, runtime: str) -> None:
    bed.runtime = runtime
    bed.add(
        "one",
        'echo "node $NODE_RANK of $NNODES"\necho performance: 2 speed\n',
        metrics={"speed": {"across_nodes": "sum"}},
    )
    started = bed.start("one")
    assert bed.codes(started) == [0, 0, 0], [one.output for one in started]
    record = bed.record()
    assert [metric["value"] for metric in record["metrics"]] == [6]
    assert [node["hostname"] for node in record["nodes"]] == ["n0", "n1", "n2"]
    assert len({bed.run_dir(rank).name for rank in (0, 1, 2)}) == 1
    for rank in (0, 1, 2):
        assert (bed.run_dir(rank) / f"node-{rank}/console.log").read_text().startswith(f"node {rank} of 3\n")
    assert not bed.left()


@pytest.mark.torch
def test_three_nodes_train_one_model_together(bed: Bed) -> None:
    """Every loss is that of one world of three: a world of one would read three times fewer tokens."""
    pytest.importorskip("torch")
    bed.runtime = "process"
    for node in bed.nodes:
        shutil.copytree(ROOT / "models", node.folder / "models")
        shutil.copy(ROOT / "data.json", node.folder)
    started = bed.start("llama2_7b_tiny:steps=10")
    assert bed.codes(started, 200) == [0, 0, 0], [one.output for one in started]
    record = bed.record()
    assert (record["status"], record["nnodes"]) == ("SUCCESS", 3)
    values = {metric["metric"]: metric["value"] for metric in record["metrics"]}
    assert values["tokens_per_sec"] == pytest.approx(3 * values["tokens_per_sec_per_gpu"])
    assert values["loss_last"] < values["loss_first"]
