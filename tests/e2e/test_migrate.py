"""A card of a MAD repository and the native one that `migrate` makes of it report the same numbers, in real docker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.docker, pytest.mark.beside]

SCRIPT = """\
set -euo pipefail
factor=$(bash ../scripts/common/factor.sh)
[[ $(pwd) == /myworkspace/run_directory || $(readlink -f /myworkspace)/run_directory == "$(pwd)" ]]
printf 'model,performance,metric,words\\n' > ../perf_a.csv
printf 'one,%s,tok/s,%s\\n' "$((factor * 2))" "$#" >> ../perf_a.csv
cat /myworkspace/scripts/common/factor.sh > copy.txt
"""


def measured(records: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """Metric and value of every metric of the one run."""
    (record,) = records
    assert record["status"] == "SUCCESS", record
    return [(metric["metric"], metric["value"]) for metric in record["metrics"]]


def test_a_migrated_card_reports_the_same_numbers(
    make_repository: Callable[[str], Any], base_image: str, tmp_path: Path
) -> None:
    mad, native = make_repository("none"), tmp_path / "native"
    card = {"name": "a", "dockerfile": "docker/a", "scripts": "scripts/a/run.sh", "n_gpus": "-1", "tags": ["t"]}
    files = {
        "models.json": json.dumps([card | {"args": "--x 'y z' $((1+1))", "multiple_results": "perf_a.csv"}]),
        "docker/a.any.Dockerfile": f"# CONTEXT {{}}\nARG BASE_DOCKER={base_image}\nFROM $BASE_DOCKER\n",
        "scripts/a/run.sh": SCRIPT,
        "scripts/common/factor.sh": "echo 21\n",
    }
    for name, text in files.items():
        (mad.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (mad.folder / name).write_text(text)
    done = mad.run("run", "--tags", "a", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    before = measured(mad.records())
    done = mad.run("migrate", "--to", str(native))
    assert (done.returncode, done.stdout) == (0, "models/a/model.yaml\n")
    done = mad.run("run", "--tags", "a", "-q", "--repo", str(native), "--results", "other/results")
    assert done.returncode == 0, done.stdout + done.stderr
    after = [json.loads(path.read_text()) for path in (mad.folder / "other").glob("results/runs/*/record.json")]
    assert measured(after) == before
    assert [value for _, value in before] == [42]
