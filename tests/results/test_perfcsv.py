"""perf.csv: MAD's 29 columns first, no row lost or changed by concurrent runs or a kill."""

import csv
import io
import multiprocessing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.results import perfcsv
from madrun.results.perfcsv import append, mark, read, rebuild, rows_of
from madrun.results.rundir import create
from madrun.spec.record import MetricResult

HEADER_OF_MAD = [
    "model", "n_gpus", "nnodes", "gpus_per_node", "training_precision", "pipeline", "args", "tags", "docker_file",
    "base_docker", "docker_sha", "docker_image", "git_commit", "machine_name", "deployment_type", "launcher",
    "gpu_architecture", "performance", "metric", "relative_change", "status", "build_duration", "test_duration",
    "dataname", "data_provider_type", "data_size", "data_download_duration", "build_number",
    "additional_docker_run_options",
]  # fmt: skip
THREE = tuple(MetricResult(metric=name, value=1.0, text="1") for name in ("a", "b", "c"))


@pytest.fixture
def finish(tmp_path, make_record):
    """Ends a run up to its record; `add` appends its rows as well."""

    def run(*, add=True, **changes):
        place = create(tmp_path, "one", "abcdef")
        record = make_record(place.run_id, **changes)
        mark(tmp_path, place.run_id)
        place.write_record(record)
        if add:
            append(tmp_path, place, record)
        return place, record

    return run


def rows(tmp_path):
    return read(tmp_path / "perf.csv")


def test_the_columns_of_mad_come_first_and_in_its_order(tmp_path, finish):
    finish()
    header = next(csv.reader(io.StringIO((tmp_path / "perf.csv").read_text())))
    assert header[:29] == HEADER_OF_MAD
    assert header[29:] == perfcsv.OWN_COLUMNS
    assert len(set(header)) == len(header)


def test_a_row_says_what_the_record_says(make_record):
    (row,) = rows_of(make_record())
    expected = {
        "model": "one",
        "n_gpus": "8",
        "nnodes": "2",
        "gpus_per_node": "4",
        "args": "--x 1",
        "tags": "smoke,tiny",
        "machine_name": "alpha",
        "pipeline": "nightly",
        "deployment_type": "local",
        "launcher": "torchrun",
        "performance": "007",
        "metric": "tok",
        "unit": "tok/s",
        "status": "SUCCESS",
        "test_duration": "1.500",
        "relative_change": "",
        "valid": "true",
        "exit_code": "0",
    }
    assert {name: row[name] for name in expected} == expected


def test_a_run_that_may_not_be_believed_has_no_number(make_record):
    (row,) = rows_of(make_record(valid=False, status="FAILURE", reasons=("a", "b")))
    assert (row["performance"], row["metric"], row["status"], row["reasons"]) == ("", "tok", "FAILURE", "a; b")


def test_a_run_without_metrics_has_one_row(make_record):
    (row,) = rows_of(make_record(metrics=(), valid=False, status="FAILURE"))
    assert (row["model"], row["metric"], row["status"]) == ("one", "", "FAILURE")


def test_rows_of_multiple_results_carry_their_model_and_columns(make_record):
    metric = MetricResult(metric="tok", value=1.0, text="1", model="m1", extra={"batch": "4", "status": "evil"})
    (row,) = rows_of(make_record(metrics=(metric,)))
    assert (row["model"], row["batch"], row["status"]) == ("one_m1", "4", "SUCCESS")


def test_a_new_column_is_added_at_the_end_and_old_rows_stay(tmp_path, finish):
    finish()
    finish(metrics=(MetricResult(metric="tok", value=1.0, text="1", model="m", extra={"batch": "4"}),))
    found = rows(tmp_path)
    assert [row["batch"] for row in found] == ["", "4"]
    assert list(found[0])[-1] == "batch"


def test_text_stays_as_it_was_printed_when_rows_are_added_and_rebuilt(tmp_path, finish):
    for text in ("007", "1e5", "+1.", "0.10"):
        finish(metrics=(MetricResult(metric="tok", value=float(text), text=text),))
    before = (tmp_path / "perf.csv").read_bytes()
    assert [row["performance"] for row in rows(tmp_path)] == ["007", "1e5", "+1.", "0.10"]
    rebuild(tmp_path)
    assert (tmp_path / "perf.csv").read_bytes() == before


printable = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=30)


@given(args=printable, name=printable.filter(lambda text: text.strip()), machine=printable)
def test_any_text_is_read_back_in_one_line(tmp_path_factory, make_record, args, name, machine):
    folder = tmp_path_factory.mktemp("any")
    metric = MetricResult(metric="tok", value=1.0, text="1", model=name)
    run = create(folder, "one", "abcdef")
    record = make_record(run.run_id, args=args, metrics=(metric,), provenance={"machine_name": machine})
    mark(folder, run.run_id)
    run.write_record(record)
    append(folder, run, record)
    (row,) = read(folder / "perf.csv")
    assert row["args"] == " ".join(args.splitlines())
    assert row["model"] == " ".join(f"one_{name}".splitlines())
    assert row["machine_name"] == " ".join(machine.splitlines())


def _finish_one(folder, record, index):
    run = create(folder, f"card{index}", "abcdef")
    mine = replace(record, run_id=run.run_id, card=f"card{index}", metrics=THREE)
    mark(folder, run.run_id)
    run.write_record(mine)
    append(folder, run, mine)


@pytest.mark.slow
def test_32_concurrent_runs_give_the_rows_of_32_runs(tmp_path, make_record):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_finish_one, args=(tmp_path, make_record(), index)) for index in range(32)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    found = rows(tmp_path)
    assert sorted((row["model"], row["metric"]) for row in found) == sorted(
        (f"card{index}", name) for index in range(32) for name in "abc"
    )
    assert list((tmp_path / "pending").iterdir()) == []


def test_a_run_that_was_killed_before_its_row_gets_it_with_the_next(tmp_path, finish):
    finish()
    killed, _ = finish(add=False)
    assert len(rows(tmp_path)) == 1
    last, _ = finish()
    assert sorted(row["run_id"] for row in rows(tmp_path))[1:] == [killed.run_id, last.run_id]
    assert list((tmp_path / "pending").iterdir()) == []
    finish()
    assert len(rows(tmp_path)) == 4


def test_a_run_that_was_killed_between_its_row_and_the_marker_is_not_added_twice(tmp_path, finish):
    first, _ = finish()
    mark(tmp_path, first.run_id)
    finish()
    assert len(rows(tmp_path)) == 2


def test_a_run_without_a_record_yet_keeps_its_marker(tmp_path, finish):
    running = create(tmp_path, "one", "abcdef")
    mark(tmp_path, running.run_id)
    finish()
    assert [path.name for path in (tmp_path / "pending").iterdir()] == [running.run_id]


def test_a_row_that_another_run_has_added_is_not_added_again(tmp_path, finish):
    place, record = finish(add=False)
    finish()
    append(tmp_path, place, record)
    assert len(rows(tmp_path)) == 2


@pytest.mark.parametrize("cut", [1, 20, 400])
def test_a_torn_last_line_is_healed_by_the_next_run(tmp_path, finish, cut):
    finish()
    torn, _ = finish()
    file = tmp_path / "perf.csv"
    file.write_bytes(file.read_bytes()[:-cut])
    mark(tmp_path, torn.run_id)
    finish()
    assert [row["performance"] for row in rows(tmp_path)] == ["007"] * 3
    assert len({row["run_id"] for row in rows(tmp_path)}) == 3


def test_rows_that_were_cut_between_two_lines_are_completed_by_the_next_run(tmp_path, finish):
    torn, _ = finish(metrics=THREE)
    file = tmp_path / "perf.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:2]))
    mark(tmp_path, torn.run_id)
    finish()
    assert sorted(row["metric"] for row in rows(tmp_path)) == ["a", "b", "c", "tok"]


def test_a_deleted_file_is_rebuilt_from_the_run_directories(tmp_path, finish):
    finish()
    finish()
    before = rows(tmp_path)
    (tmp_path / "perf.csv").unlink()
    found = rebuild(tmp_path)
    assert found.rows == before == rows(tmp_path)
    assert (found.unreadable, found.unfinished) == ([], [])


def test_unfinished_and_unreadable_runs_are_named(tmp_path, finish):
    finish()
    open_run = create(tmp_path, "one", "abcdef")
    broken = create(tmp_path, "one", "abcdef")
    (broken.path / "record.json").write_text("{")
    found = rebuild(tmp_path)
    assert len(found.rows) == 1
    assert [item.path for item in found.unreadable] == [broken.path]
    assert found.unfinished == [open_run.path]


def test_a_cell_of_any_length_and_a_marker_left_behind_do_not_stop_later_runs(tmp_path, finish):
    long = MetricResult(metric="tok", value=1.0, text="1", model="m", extra={"log": "x" * 200_000})
    first, _ = finish(metrics=(long,))
    mark(tmp_path, first.run_id)
    csv.field_size_limit(131072)
    finish()
    assert [len(row["log"]) for row in rows(tmp_path)] == [200_000, 0]


@pytest.mark.parametrize("damage", [b"\xff\xfe\xff\n", b"\n\xff,\n"])
def test_a_file_that_is_no_text_is_rebuilt_from_the_records(tmp_path, finish, damage):
    first, _ = finish()
    file = tmp_path / "perf.csv"
    file.write_bytes(damage if damage[:1] != b"\n" else file.read_bytes() + damage[1:])
    mark(tmp_path, first.run_id)
    finish()
    assert [row["performance"] for row in rows(tmp_path)] == ["007", "007"]


def test_a_scan_writes_nothing(tmp_path, finish):
    finish(add=False)
    before = sorted(path for path in tmp_path.rglob("*"))
    assert len(perfcsv.scan(tmp_path).rows) == 1
    assert sorted(path for path in tmp_path.rglob("*")) == before


def _measured(text, **more):
    return {"metrics": (MetricResult(metric="tok", value=float(text), text=text),), **more}


def test_the_change_is_the_same_when_it_is_added_and_when_the_table_is_rebuilt(finish, tmp_path):
    finish(**_measured("100"))
    finish(**_measured("1", valid=False, status="FAILURE"))
    finish(**_measured("3", args="--other"))
    finish(**_measured("105"))
    added = (tmp_path / "perf.csv").read_bytes()
    assert [row["relative_change"] for row in read(tmp_path / "perf.csv")] == ["", "", "", "+0.0500"]
    rebuild(tmp_path)
    assert (tmp_path / "perf.csv").read_bytes() == added


def test_the_order_of_time_counts_and_not_that_of_the_names(finish, tmp_path):
    finish(**_measured("100", ended_at="2026-11-21T00:09:00Z"))
    finish(**_measured("50", ended_at="2026-11-21T00:00:01Z"))
    rebuild(tmp_path)
    assert [row["relative_change"] for row in read(tmp_path / "perf.csv")] == ["+1.0000", ""]


def test_rows_that_stand_keep_their_number_beside_one_that_has_none(make_record):
    missing = MetricResult(metric="tok", value=float("nan"), text="", model="b", missing="b tok has no number: x")
    good = replace(THREE[0], model="a")
    record = make_record(metrics=(good, missing), valid=False, status="FAILURE", partial=True, reasons=("x",))
    one, two = rows_of(record)
    assert (one["model"], one["performance"], one["status"], one["valid"], one["reasons"]) == (
        "one_a", "1", "SUCCESS", "true", "",
    )  # fmt: skip
    assert (two["performance"], two["status"], two["reasons"]) == ("", "FAILURE", "b tok has no number: x")
    assert rows_of(replace(record, partial=False))[0]["performance"] == ""


def test_a_record_of_a_card_that_was_not_run_has_its_row(make_record):
    (row,) = rows_of(make_record(metrics=(), nodes=(), plan_hash="", valid=False, status="SKIPPED", reasons=("why",)))
    assert (row["status"], row["performance"], row["reasons"]) == ("SKIPPED", "", "why")
