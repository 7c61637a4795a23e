"""The cards of the project in containers: what they refuse to call measured. What they measure: test_runners.py."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import ROOT, two_nodes
from own_ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.torch, pytest.mark.beside]


@pytest.fixture
def shipped(docker_repository: Any) -> Any:
    """A copy of the project's own cards and data, over the base image."""
    shutil.copytree(ROOT / "models", docker_repository.folder / "models")
    shutil.copy(ROOT / "data.json", docker_repository.folder)
    site = docker_repository.folder / "madrun-site.yaml"
    site.write_text(f"docker_build_arg: {{BASE_DOCKER: {docker_repository.image}}}\n")
    return docker_repository


@pytest.mark.long
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
    port = free_port()
    nodes = [shipped.start("run", "--tags", "llama2_7b_tiny", "-c", two_nodes(rank, port)) for rank in (0, 1)]
    assert [node.wait(250) for node in nodes] == [3, 3], [shipped.output(node) for node in nodes]
    assert "performance:" not in (only_run(shipped) / "node-0/console.log").read_text()
    assert shipped.records()[0]["status"] == "FAILURE"


def only_run(repository: Any) -> Path:
    (run,) = (repository.folder / "results/runs").iterdir()
    return run
