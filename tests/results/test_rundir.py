"""Run directories are unique, their files whole or absent, and a record that cannot be read is said to be."""

import json
import multiprocessing
import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from madrun.errors import UsageError
from madrun.results import rundir
from madrun.results.rundir import Unreadable, create, open_shared, read_record, run_paths, write_atomically
from madrun.spec.record import NodeOutcome


def test_a_run_is_named_by_time_card_and_hash(tmp_path):
    run = create(tmp_path, "llama2_7b", "abcdef0123")
    assert re.fullmatch(r"\d{8}T\d{6}Z-llama2_7b-abcdef-1", run.run_id)
    assert run.path == tmp_path / "runs" / run.run_id
    assert run.path.is_dir()
    assert run.node(3) == run.path / "node-3"


def test_runs_that_start_at_once_in_threads_get_directories_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: create(tmp_path, "one", "abcdef").run_id, range(64)))
    assert len(set(names)) == 64
    assert len(list(run_paths(tmp_path))) == 64


def test_runs_that_start_at_once_in_processes_get_directories_of_their_own(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        runs = pool.starmap(create, [(tmp_path, "one", "abcdef")] * 32)
    assert len({run.run_id for run in runs}) == 32


def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--results: .*file/runs cannot be written: .*name another directory"):
        create(tmp_path / "file", "one", "abcdef")
    with pytest.raises(UsageError, match="--results: .*cannot be written"):
        open_shared(tmp_path / "file", "r1")


def test_another_node_finds_or_makes_the_directory_that_node_0_named(tmp_path):
    run = create(tmp_path, "one", "abcdef")
    assert open_shared(tmp_path, run.run_id) == run
    assert open_shared(tmp_path / "elsewhere", run.run_id).path.is_dir()


def test_a_record_is_read_as_it_was_written(tmp_path, make_record):
    run = create(tmp_path, "one", "abcdef")
    assert read_record(run.path) is None
    run.write_record(make_record())
    assert read_record(run.path) == make_record()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\xff"])
def test_a_record_that_cannot_be_read_says_why(tmp_path, text):
    run = create(tmp_path, "one", "abcdef")
    (run.path / "record.json").write_bytes(text.encode("latin-1"))
    found = read_record(run.path)
    assert isinstance(found, Unreadable)
    assert found.path == run.path
    assert found.reason


def test_a_file_is_whole_or_absent_when_writing_breaks_off(tmp_path, monkeypatch):
    write_atomically(tmp_path / "x", "old")

    def broken(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "x", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_others_may_read_what_was_written(tmp_path):
    write_atomically(tmp_path / "x", "text")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_the_journal_holds_one_line_for_each_event(tmp_path):
    run = create(tmp_path, "one", "abcdef")
    run.journal("begin", run_id="r")
    run.journal("phase", name="two\nlines")
    lines = [json.loads(line) for line in (run.path / "journal.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["begin", "phase"]
    assert lines[1]["name"] == "two\nlines"
    assert lines[0]["at"] <= lines[1]["at"]


def test_run_directories_are_listed_oldest_first(tmp_path):
    assert list(run_paths(tmp_path)) == []
    for name in ("20260102T000000Z-b-x-1", "20260101T000000Z-z-x-1"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "file").touch()
    assert [path.name[:8] for path in run_paths(tmp_path)] == ["20260101", "20260102"]


def test_the_plan_of_another_node_is_kept_only_where_node_0_wrote_none(tmp_path, make_test_plan, make_node):
    run = open_shared(tmp_path, "r1")
    mine, first = (make_test_plan(node=make_node(hostname=name)) for name in ("beta", "alpha"))
    for write, plan, host in (
        (run.keep_plan, mine, "beta"),
        (run.write_plan, first, "alpha"),
        (run.keep_plan, mine, "alpha"),
    ):
        write(plan)
        assert json.loads((run.path / "plan.json").read_text())["nodes"][0]["hostname"] == host


def test_the_plan_is_saved(tmp_path, make_test_plan):
    run = create(tmp_path, "one", "abcdef")
    run.write_plan(make_test_plan())
    assert json.loads((run.path / "plan.json").read_text())["job"]["card"] == "one"
    assert not (run.path / rundir.RECORD).exists()


def test_a_directory_is_known_by_its_mark_and_no_other_by_its_name(tmp_path):
    mine = create(tmp_path / "a", "card", "abcdef")
    token = mine.mark()
    assert open_shared(tmp_path / "a", mine.run_id).is_marked(token)
    assert not open_shared(tmp_path / "b", mine.run_id).is_marked(token)
    assert not mine.is_marked("")
    mine.discard()
    assert not mine.path.exists()


def test_the_journal_tells_of_each_node_by_node_0s_clock(tmp_path):
    run = create(tmp_path, "card", "abcdef")
    run.mark()
    ran = NodeOutcome(node=1, hostname="b", started_at=160.5, script_s=2.0, exit_code=3, timings={"deliver": 0.25})
    run.tell([ran, NodeOutcome(node=2, hostname="c")], {"1": 60.0, "2": None})
    lines = [json.loads(line) for line in (run.path / "journal.jsonl").read_text().splitlines()]
    assert lines[:2] == [
        {"at": 100.5, "event": "barrier", "node": 1},
        {"at": 102.5, "event": "ended", "node": 1, "exit_code": 3},
    ]
    assert [(line["event"], line["node"], line["seconds"]) for line in lines[2:]] == [
        ("collected", 1, 0.25),
        ("collected", 2, 0.0),
    ]
    assert [path.name for path in run.path.iterdir()] == ["journal.jsonl"]
