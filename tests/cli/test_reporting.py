"""`madrun report` rebuilds perf.csv from the run directories and never rewrites what they say."""

import csv
import io
import json

import pytest

from madrun.results import rundir
from madrun.spec.record import MetricResult

pytestmark = pytest.mark.slow


@pytest.fixture
def results(repository, make_record):
    """Two finished runs with two metrics each; the second one failed."""
    metrics = tuple(
        MetricResult(metric=name, value=7.0, text="007", unit="u", primary=name == "tok") for name in ("ms", "tok")
    )
    for card, valid in (("one", True), ("two", False)):
        run = rundir.create(repository / "results", card, "abcdef")
        status = "SUCCESS" if valid else "FAILURE"
        run.write_record(make_record(run.run_id, card=card, metrics=metrics, valid=valid, status=status))
    return repository / "results"


def test_the_table_holds_the_primary_metric_of_each_run(madrun, results):
    done = madrun("report")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert "007" in lines[1]
    assert "tok" in lines[1]
    assert "FAILURE" in lines[2]
    assert len(madrun("report", "--all-metrics").stdout.splitlines()) == 5
    assert (results / "perf.csv").read_text().count("\n") == 5


def test_the_csv_holds_every_row_and_column(madrun, results, repository):
    done = madrun("report", "csv", "-o", "out.csv")
    assert done.returncode == 0, done.stderr
    text = (repository / "out.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["performance"] for row in rows] == ["007", "007", "", ""]
    assert madrun("report", "csv").stdout == text == (results / "perf.csv").read_text()


def test_filters_narrow_the_rows(madrun, results):
    rows = json.loads(madrun("report", "--json", "--model", "one", "--status", "SUCCESS").stdout)
    assert {row["model"] for row in rows} == {"one"}
    done = madrun("report", "--model", "onn")
    assert done.returncode == 2
    assert "did you mean 'one'?" in done.stderr


def test_runs_that_cannot_be_read_or_have_not_ended_are_named(madrun, results):
    unfinished = rundir.create(results, "three", "abcdef")
    (unfinished.path / "plan.json").write_text("{}")
    broken = rundir.create(results, "four", "abcdef")
    (broken.path / "record.json").write_text("{")
    done = madrun("report")
    assert done.returncode == 1
    assert f"{broken.path.name}/record.json cannot be read" in done.stderr
    why = f"no record, and no living agent: madrun status {unfinished.path.name}"
    assert f"unfinished ({why}): results/runs/{unfinished.path.name}" in done.stderr
    assert "SUCCESS" in done.stdout


def test_a_file_that_cannot_be_written_ends_with_2(madrun, results):
    done = madrun("report", "csv", "-o", "none/out.csv")
    assert done.returncode == 2
    assert "--output: none/out.csv cannot be written" in done.stderr


def test_a_directory_that_cannot_be_written_is_still_reported(madrun, results):
    (results / ".perf.csv.lock").mkdir()  # stands for any refusal: tests may run as root
    done = madrun("report")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    assert "results/perf.csv could not be rewritten: Is a directory (results/.perf.csv.lock)" in done.stderr
    assert not (results / "perf.csv").exists()
