"""Rows that the launching host adds for runs of its launch."""

import csv

import pytest

from madrun.backends.launchfolder import LaunchFolder
from madrun.cli.broughthome import add_rows, note_rows, rows_are_due
from madrun.results.rundir import RunDir
from madrun.spec.codec import to_json
from madrun.spec.launch import BROUGHT_HOME, Launch

ID = "20261121T000000Z-one-a1b2c3"


@pytest.fixture
def launched(tmp_path):
    """A launch and its folder."""

    def make(**changes):
        values = {name: "" for name in ("master_addr", "python", "version")}
        values |= {name: () for name in ("words", "secrets", "modules", "command")}
        values |= {name: {} for name in ("files", "given", "env", "images")}
        known = {"id": ID, "backend": "ssh", "nnodes": 1, "cards": ("one",), "master_port": 1, "control_port": 2}
        known |= {"folder": str(tmp_path / "launch"), "repository": str(tmp_path), "results": str(tmp_path / "results")}
        launch = Launch(**(values | known | changes))
        return LaunchFolder.create(launch, {}, {}), launch

    return make


@pytest.fixture
def make_run(tmp_path, make_record):
    """A run directory with its record."""

    def make(run_id, launch=ID):
        run = RunDir(tmp_path / "results/runs" / run_id)
        run.node(0).mkdir(parents=True)
        run.journal("begin", run_id=run_id, command=[], launch=launch)
        (run.path / "record.json").write_text(to_json(make_record(run_id)))
        return run_id

    return make


def run_ids(file):
    return [row["run_id"] for row in csv.DictReader(file.read_text().splitlines())]


def test_what_came_home_gets_its_rows_once(tmp_path, launched, make_run):
    folder, launch = launched()
    run_id = make_run("20261121T000001Z-one-abcdef-1")
    folder.journal(BROUGHT_HOME, runs=[run_id, "20261121T000003Z-that-was-cut-1"])
    for _ in range(2):
        assert list(add_rows(folder, launch)) == []
        assert run_ids(tmp_path / "results/perf.csv") == [run_id]
    assert not (tmp_path / "perf.csv").exists()


def test_a_file_that_is_no_table_any_more_is_told_and_tried_again(tmp_path, launched, make_run):
    file = tmp_path / "all.csv"
    folder, launch = launched(output=str(file))
    run_id = make_run("20261121T000001Z-one-abcdef-1")
    folder.journal("ended", exit_code=0)
    file.write_bytes(b"\xff\xfe\n")
    (text,) = failed = list(add_rows(folder, launch))
    assert text.startswith(f"{file} lacks what {run_id} says: ")
    note_rows(folder, launch, failed)
    assert (file.read_bytes(), rows_are_due(folder, launch)) == (b"\xff\xfe\n", True)


def test_a_file_that_was_named_gets_the_rows_of_every_run_of_the_launch_and_of_no_other(tmp_path, launched, make_run):
    folder, launch = launched(output=str(tmp_path / "o.csv"))
    home = make_run("20261121T000001Z-one-abcdef-1")
    shared = make_run("20261121T000002Z-one-abcdef-1")
    make_run("20261121T000003Z-one-abcdef-1", launch="another")
    folder.journal(BROUGHT_HOME, runs=[home])
    for _ in range(2):
        assert list(add_rows(folder, launch)) == []
        assert sorted(run_ids(tmp_path / "o.csv")) == [home, shared]


def test_in_a_repository_of_mad_the_row_is_there_too(tmp_path, launched, make_run):
    (tmp_path / "models.json").write_text("[]")
    folder, launch = launched()
    run_id = make_run("20261121T000001Z-one-abcdef-1")
    folder.journal(BROUGHT_HOME, runs=[run_id])
    for _ in range(2):
        assert list(add_rows(folder, launch)) == []
        assert run_ids(tmp_path / "perf.csv") == [run_id]


def test_what_cannot_be_written_is_told_and_the_rest_is_done(tmp_path, launched, make_run):
    folder, launch = launched(output=str(tmp_path / "gone/o.csv"))
    first, second = make_run("20261121T000001Z-one-abcdef-1"), make_run("20261121T000002Z-one-abcdef-1")
    folder.journal(BROUGHT_HOME, runs=[first, second])
    assert [line.split(":")[0] for line in add_rows(folder, launch)] == [
        f"{tmp_path}/gone/o.csv lacks what {run_id} says" for run_id in (first, second)
    ]
    assert run_ids(tmp_path / "results/perf.csv") == [first, second]


def test_rows_are_due_until_all_of_them_were_written(tmp_path, launched, make_run):
    folder, launch = launched(output=str(tmp_path / "o.csv"))
    assert not rows_are_due(folder, launch)  # nothing has happened yet
    folder.journal("started", hosts=["a"])
    run_id = make_run("20261121T000001Z-one-abcdef-1")
    record = tmp_path / "results/runs" / run_id / "record.json"
    text = record.read_text()
    record.unlink()
    note_rows(folder, launch, [])
    assert rows_are_due(folder, launch)  # its record is still to come
    record.write_text(text)
    note_rows(folder, launch, ["o.csv lacks what it says"])
    assert rows_are_due(folder, launch)
    note_rows(folder, launch, [])
    assert not rows_are_due(folder, launch)


def test_rows_that_node_0_writes_are_not_this_hosts_to_add(launched):
    folder, launch = launched()
    folder.journal("started", hosts=["a"])
    assert not rows_are_due(folder, launch)
    folder.journal(BROUGHT_HOME, runs=["r"])
    assert rows_are_due(folder, launch)
