"""No row is lost or torn, whoever runs at the same time and whoever is killed."""

from __future__ import annotations

import csv
import signal
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


def test_32_runs_at_once_give_32_rows(repository: Any, runtime: str) -> None:
    repository.add("one", 'echo "performance: $RANDOM speed"\n')
    children = [repository.start("run", "--tags", "one", "--runtime", runtime) for _ in range(32)]
    codes = [child.wait(200) for child in children]
    assert codes == [0] * 32, repository.output(children[codes.index(next(filter(None, codes)))])
    with (repository.folder / "results/perf.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 32
    assert len({row["run_id"] for row in rows}) == 32
    assert all(row["performance"].isdigit() for row in rows)


def test_runs_that_are_killed_at_any_moment_leave_a_whole_table(host_repository: Any) -> None:
    host_repository.add("one", "echo performance: 1 speed\n")
    finished = 0
    for step in range(12):
        child = host_repository.start("run", "--tags", "one", "--runtime", "process")
        time.sleep(0.15 + 0.03 * step)
        child.send_signal(signal.SIGKILL)
        child.wait(60)
    last = host_repository.run("run", "--tags", "one", "--runtime", "process")
    assert last.returncode == 0
    finished = len(host_repository.records())
    with (host_repository.folder / "results/perf.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == finished
    assert {row["run_id"] for row in rows} == {record["run_id"] for record in host_repository.records()}
