"""The quick start, as a user runs it in a fresh clone."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import ROOT, containers

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.torch, pytest.mark.timeout(600)]


def test_the_quick_start_ends_with_four_runs_that_succeeded_in_docker(tmp_path: Path, engine: Any) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    done = subprocess.run(["bash", "scripts/quickstart.sh"], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with (clone / "results/perf.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["model"], row["nnodes"]) for row in rows} == {
        (card, nodes) for card in ("sanity", "llama2_7b_tiny") for nodes in ("1", "2")
    }
    assert {row["status"] for row in rows} == {"SUCCESS"}
    assert {row["runtime"] for row in rows} == {"docker"}
    assert all(row["performance"] for row in rows)
    assert not containers(engine, clone)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert status.stdout == ""  # what it makes is ignored by git
