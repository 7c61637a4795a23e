"""Samples out of a `multiple_results` CSV, which may be anything that a script leaves under that name."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.results.table import samples_of_csv
from madrun.spec.record import Sample


def read_csv(tmp_path, text):
    file = tmp_path / "out.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return samples_of_csv(file, 1)


def test_rows_of_a_csv_become_samples_with_what_else_they_say(tmp_path):
    found = read_csv(tmp_path, "model, performance ,metric,batch\nm1,007, tok,1\n\nm2,8.5,tok,2\n")
    assert (found.findings, found.notes) == ((), ())
    assert list(found.samples) == [
        Sample(node=1, metric="tok", value=7.0, text="007", source="out.csv:2", model="m1", extra={"batch": "1"}),
        Sample(node=1, metric="tok", value=8.5, text="8.5", source="out.csv:4", model="m2", extra={"batch": "2"}),
    ]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    assert read_csv(tmp_path, b"\xef\xbb\xbfmodel,performance,metric\nm,1,x\n").findings == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["out.csv", "model, performance, metric is missing", "found: nothing"]),
        ("models,performance,metric\nm,1,x\n", ["column model is missing", "models"]),
        ("model,performance,metric\nm,fast,x\n", ["out.csv:2", "'fast'", "a number"]),
        ("model,performance,metric\nm,,x\n", ["out.csv:2", "''", "a number"]),
        ("model,performance,metric\nm,1\n", ["out.csv:2", "2 cells under 3 columns"]),
        ("model,performance,metric\nm,1, \n", ["out.csv:2", "metric is empty", "a name"]),
        ("model,performance,metric,a,a\nm,1,x,2,3\n", ["column a", "more than once"]),
        ("model,performance,metric\nm,1 2,x\n", ["out.csv:2", "'1 2'"]),
        (b"\xff\xff", ["out.csv cannot be read"]),
    ],
)
def test_a_wrong_csv_is_a_finding_with_the_place(tmp_path, text, parts):
    found = read_csv(tmp_path, text)
    assert found.samples == ()
    assert len(found.findings) == 1
    assert [part for part in parts if part not in found.findings[0]] == []


def test_good_rows_of_a_csv_with_a_bad_one_count(tmp_path):
    found = read_csv(tmp_path, "model,performance,metric\nm,1,x\nm,bad,y\nm,2,z\n")
    assert [sample.metric for sample in found.samples] == ["x", "z"]
    assert len(found.findings) == 1


def test_a_csv_that_is_not_there_is_a_finding(tmp_path):
    found = samples_of_csv(tmp_path / "none.csv", 0)
    assert (found.samples, len(found.findings)) == ((), 1)


@given(st.binary(max_size=80) | st.binary(max_size=60).map(b"model,performance,metric\n".__add__))
def test_any_bytes_are_samples_or_findings(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "out.csv"
    file.write_bytes(content)
    found = samples_of_csv(file, 0)
    assert all(isinstance(sample.value, float) for sample in found.samples)
    assert all("out.csv" in finding for finding in found.findings)


def test_two_rows_of_the_same_thing_are_a_finding(tmp_path):
    found = read_csv(tmp_path, "model,performance,metric,tp\nm,1,x,1\nm,2,x,2\nm,3,x,1\n")
    assert [sample.text for sample in found.samples] == ["1", "2"]
    (finding,) = found.findings
    assert "out.csv:4: m x is there a second time" in finding


def test_columns_that_perf_csv_has_itself_are_renamed_with_a_note(tmp_path):
    found = read_csv(tmp_path, "model,performance,metric,status,args,csv_args\nm,1,x,ok,-v,old\n")
    assert found.samples[0].extra == {"csv_status": "ok", "csv_csv_args": "-v", "csv_args": "old"}
    assert [note for note in found.notes if "status" in note] == [
        "out.csv: column status is one of perf.csv's own and is kept as csv_status"
    ]
    assert found.findings == ()


def test_the_column_unit_is_no_news_for_it_fills_that_of_perf_csv(tmp_path):
    found = read_csv(tmp_path, "model,performance,metric,unit\nm,1,x,ms\n")
    assert (found.samples[0].extra, found.notes) == ({"csv_unit": "ms"}, ())


def test_a_column_without_a_name_is_left_out_with_a_note(tmp_path):
    found = read_csv(tmp_path, ",model,performance,metric\n0,m,1,x\n1,m,2,y\n")
    assert [sample.extra for sample in found.samples] == [{}, {}]
    assert found.notes == ("out.csv: column 1 has no name and is left out",)
    assert found.findings == ()


def test_a_file_too_large_to_be_a_table_is_not_read(tmp_path):
    with (tmp_path / "out.csv").open("wb") as file:
        file.truncate(65 << 20)
    (finding,) = samples_of_csv(tmp_path / "out.csv", 0).findings
    assert "allowed: at most" in finding


def make_link(path):
    (path.parent / "real").write_text("model,performance,metric\nm,1,x\n")
    path.symlink_to("real")


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [(os.mkfifo, "a FIFO"), (make_socket, "a socket"), (make_link, "a symbolic link"), (os.mkdir, "a directory")],
)
def test_what_is_no_regular_file_is_a_finding_at_once(tmp_path, monkeypatch, make, kind):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "out.csv") if make is not make_socket else make_socket((tmp_path / "out.csv").relative_to(tmp_path))
    found = samples_of_csv(tmp_path / "out.csv", 0)
    assert found.findings == (f"multiple_results: out.csv is {kind}, allowed: a regular file",)
    assert found.samples == ()


@pytest.mark.parametrize("lenient", [False, True])
def test_a_header_alone_is_said_for_it_is_no_measurement(tmp_path, lenient):
    file = tmp_path / "out.csv"
    file.write_text("model,performance,metric\n\n")
    found = samples_of_csv(file, 0, lenient)
    assert (found.samples, found.findings) == ((), ())
    assert found.notes == ("out.csv has a header and no row under it",)
