"""The cards of the project in containers: what they measure, and what they refuse to call measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import ROOT, two_nodes

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.torch]


@pytest.fixture
def shipped(docker_repository: Any) -> Any:
    """A copy of the project's own cards and data, over the base image."""
    shutil.copytree(ROOT / "models", docker_repository.folder / "models")
    shutil.copy(ROOT / "data.json", docker_repository.folder)
    site = docker_repository.folder / "madrun-site.yaml"
    site.write_text(f"docker_build_arg: {{BASE_DOCKER: {docker_repository.image}}}\n")
    return docker_repository


def metrics(record: dict[str, Any]) -> dict[str, float]:
    return {metric["metric"]: metric["value"] for metric in record["metrics"]}


def test_sanity_sees_both_nodes(shipped: Any) -> None:
    nodes = [shipped.start("run", "--tags", "sanity", "-c", two_nodes(rank, 29561)) for rank in (0, 1)]
    assert [node.wait(120) for node in nodes] == [0, 0], [shipped.output(node) for node in nodes]
    (record,) = shipped.records()
    found = metrics(record)
    assert (found["nodes"], found["ranks"], found["version_mismatches"]) == (2, 2, 0)
    assert record["runtime"] == "docker"


def test_llama_trains_on_real_text_over_two_nodes(shipped: Any) -> None:
    nodes = [shipped.start("run", "--tags", "llama2_7b_tiny", "-c", two_nodes(rank, 29563)) for rank in (0, 1)]
    assert [node.wait(200) for node in nodes] == [0, 0], [shipped.output(node) for node in nodes]
    (record,) = shipped.records()
    found = metrics(record)
    assert found["tokens_per_sec_per_gpu"] > 0
    assert found["loss_last"] < found["loss_first"]
    assert record["provenance"]["dataname"] == "tiny_corpus"
    plan = json.loads((shipped.folder / "results/runs" / record["run_id"] / "plan.json").read_text())
    assert [node["node_rank"] for node in plan["nodes"]] == [0, 1]


def test_a_learning_rate_of_zero_is_not_a_success(shipped: Any) -> None:
    done = shipped.run("run", "--tags", "llama2_7b_tiny:lr=0", timeout=200)
    assert done.returncode == 3
    assert "performance:" not in (only_run(shipped) / "node-0/console.log").read_text()
    (record,) = shipped.records()
    assert (record["status"], record["metrics"]) == ("FAILURE", [])


def test_a_loader_that_ignores_its_rank_is_not_a_success(shipped: Any) -> None:
    loader = shipped.folder / "models/llama2_7b/data.py"
    text, right = loader.read_text(), "(number * self.world + self.rank) * self.mbs"
    assert text.count(right) == 1
    loader.write_text(text.replace(right, "(number * self.world) * self.mbs"))
    nodes = [shipped.start("run", "--tags", "llama2_7b_tiny", "-c", two_nodes(rank, 29565)) for rank in (0, 1)]
    assert [node.wait(200) for node in nodes] == [3, 3], [shipped.output(node) for node in nodes]
    assert "performance:" not in (only_run(shipped) / "node-0/console.log").read_text()
    assert shipped.records()[0]["status"] == "FAILURE"


def only_run(repository: Any) -> Path:
    (run,) = (repository.folder / "results/runs").iterdir()
    return run
