"""A perf.csv that others own too: what stands in it stays to the letter, and rows go under its own header."""

import csv
import errno
import multiprocessing
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.errors import UsageError
from madrun.results.mad.outputcsv import add, check, has_rows_of
from madrun.results.perfcsv import COLUMNS, MAD_COLUMNS

ROW = dict.fromkeys(COLUMNS, "") | {"model": "m", "performance": "007", "metric": "tok", "status": "SUCCESS"}


def rows_in(file):
    with file.open(newline="", encoding="utf-8-sig") as source:
        return list(csv.DictReader(source))


def test_a_new_file_has_the_columns_of_mad_first(tmp_path):
    file = tmp_path / "perf.csv"
    add(file, [ROW])
    assert file.read_text().startswith(",".join(MAD_COLUMNS) + ",")
    assert rows_in(file)[0]["performance"] == "007"
    assert [path.name for path in tmp_path.iterdir()] == ["perf.csv"]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_rows_of_others_stay_to_the_letter(tmp_path, ending, last, mark):
    file = tmp_path / "perf.csv"
    foreign = f'old, "1,5" ,SUCCESS ,x{ending}"a ""b""",2,FAILURE,y'
    head = f"model, performance,status,metric,their own{ending}"
    file.write_bytes(mark + (head + foreign + (ending if last else "")).encode())
    add(file, [ROW])
    add(file, [ROW | {"performance": "8"}])
    text = file.read_bytes()
    assert text.startswith(mark + head.rstrip("\r\n").encode() + b",")
    assert (ending + foreign + ending).encode() in text
    assert text.count(ending.encode()) == 5
    assert [row.get("performance") or row.get(" performance") for row in rows_in(file)][-2:] == ["007", "8"]


def test_the_table_of_the_older_tools_gets_the_columns_that_it_lacks(tmp_path):
    file = tmp_path / "perf.csv"
    old = [name for name in MAD_COLUMNS if name not in ("nnodes", "gpus_per_node", "deployment_type", "launcher")]
    file.write_text(",".join(old) + "\n" + ",".join("v" for _ in old) + "\n")
    add(file, [ROW | {"nnodes": "2", "tp": "8"}])
    before, after = rows_in(file)
    assert before["additional_docker_run_options"] == "v"
    assert (after["nnodes"], after["tp"]) == ("2", "8")


def test_a_further_column_of_a_later_row_is_added_behind(tmp_path):
    file = tmp_path / "perf.csv"
    add(file, [ROW])
    add(file, [ROW | {"tp": "8"}])
    assert [row["tp"] for row in rows_in(file)] == [None, "8"]


def _many(file):
    for index in range(10):
        add(file, [ROW | {f"more_{os.getpid()}_{index}": "x"}])


def test_processes_at_once_lose_no_row_though_each_adds_columns(tmp_path):
    file = tmp_path / "perf.csv"
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_many, args=(file,)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    assert len(rows_in(file)) == 40


@settings(max_examples=20)  # each writes files, and waits for the disk
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["model", "tp", "args", "reasons"]),
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_a_cell_holds_comes_back(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("csv") / "perf.csv"
    for row in rows:
        add(file, [ROW | row])
    found = rows_in(file)
    assert [{name: one[name] for name in row} for one, row in zip(found, rows, strict=True)] == rows


def test_a_full_disk_leaves_no_half_row(tmp_path, monkeypatch):
    file = tmp_path / "perf.csv"
    add(file, [ROW])
    before, write = file.read_bytes(), os.pwrite

    def full(handle, data, offset):
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:20], offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        add(file, [ROW])
    assert file.read_bytes() == before


def test_what_cannot_take_rows_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(UsageError, match="is not a directory"):
        check(tmp_path / "no" / "perf.csv", "--output")
    with pytest.raises(UsageError, match="not a regular file"):
        check(tmp_path, "--output")
    notes = tmp_path / "notes.csv"
    notes.write_text("day,what\n1,x\n")
    with pytest.raises(UsageError, match=r"--output: .*no column model, performance, metric, status.*found: day, what"):
        check(notes, "--output")
    notes.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read as CSV"):
        check(notes, "--output")
    notes.write_text("")
    check(notes, "--output")
    check(tmp_path / "new.csv", "--output")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, False),
        ("", False),
        ("model,performance\nr1,5\n", False),
        ("\ufeffrun_id,model\r\nr1,one\r\n", True),
        ('model, run_id \n"o,\nne",r1\n', True),
        ("model,run_id\nr1,r10\none\n", False),
        ("model,run_id\n\0,r1\n", True),
    ],
)
def test_the_rows_of_a_run_are_found_by_its_id_alone(tmp_path, text, found):
    file = tmp_path / "o.csv"
    if text is not None:
        file.write_text(text, encoding="utf-8", newline="")
    assert has_rows_of(file, "r1") is found
