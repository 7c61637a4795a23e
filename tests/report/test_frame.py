"""Rows as a frame of text: filtered, shown, written."""

import csv
import io
from datetime import datetime, timezone

import pytest

from madrun.errors import UsageError
from madrun.report.frame import csv_text, frame_of, primary_rows, since_text, table_text
from madrun.results.perfcsv import COLUMNS, rows_of
from madrun.spec.record import MetricResult

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)


@pytest.fixture
def rows(make_record):
    return [
        *rows_of(make_record("r1", card="one", tags=("smoke",), started_at="2026-11-20T00:00:00Z")),
        *rows_of(make_record("r2", card="two", tags=("smoketest", "llm"), started_at="2026-11-21T11:30:00Z")),
        *rows_of(make_record("r3", card="two", status="FAILURE", valid=False, started_at="2026-11-21T11:59:00Z")),
    ]


def chosen(rows, **filters):
    return list(frame_of(rows, filters, NOW)["run_id"])


def test_without_filters_every_row_is_there(rows):
    assert chosen(rows) == ["r1", "r2", "r3"]
    assert chosen([]) == []


@pytest.mark.parametrize(
    ("filters", "runs"),
    [
        ({"model": "two"}, ["r2", "r3"]),
        ({"tag": "smoke"}, ["r1", "r3"]),
        ({"tag": "none"}, []),
        ({"status": "FAILURE"}, ["r3"]),
        ({"status": "failure"}, ["r3"]),
        ({"since": "1h"}, ["r2", "r3"]),
        ({"since": "2026-11-21"}, ["r2", "r3"]),
        ({"since": "2026-11-21T11:45:00Z"}, ["r3"]),
        ({"model": "two", "status": "SUCCESS", "since": "7d"}, ["r2"]),
    ],
)
def test_each_filter_leaves_what_it_says(rows, filters, runs):
    assert chosen(rows, **filters) == runs


@pytest.mark.parametrize(
    ("filters", "parts"),
    [
        ({"model": "twp"}, ["--model", "'twp'", "did you mean 'two'?", "known: one, two"]),
        ({"status": "GREEN"}, ["--status", "'GREEN'", "SUCCESS, FAILURE, SKIPPED"]),
        ({"since": "soon"}, ["--since", "'soon'", "2026-11-21", "1h30m"]),
    ],
)
def test_a_wrong_filter_is_named_with_what_is_allowed(rows, filters, parts):
    with pytest.raises(UsageError) as caught:
        chosen(rows, **filters)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_the_primary_metric_stands_for_a_run_and_a_run_without_one_shows_all(make_record):
    first, second = (MetricResult(metric=name, value=1.0, text="1", primary=name == "b") for name in "ab")
    rows = [*rows_of(make_record("r1", metrics=(first, second))), *rows_of(make_record("r2", metrics=(first, first)))]
    shown = primary_rows(frame_of(rows, {}, NOW))
    assert list(zip(shown["run_id"], shown["metric"], strict=True)) == [("r1", "b"), ("r2", "a"), ("r2", "a")]


def test_a_moment_is_spelled_as_rows_spell_it():
    assert since_text("2h", NOW) == "2026-11-21T10:00:00Z"
    assert since_text("2026-11-21T13:00:00+02:00", NOW) == "2026-11-21T11:00:00Z"


@pytest.mark.parametrize("text", ["99999999999d", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_beyond_the_calendar_is_a_usage_error(text):
    with pytest.raises(UsageError, match="--since: found"):
        since_text(text, NOW)


def test_numbers_stay_text(rows):
    frame = frame_of(rows, {}, NOW)
    assert list(frame["performance"]) == ["007", "007", ""]
    assert "007" in csv_text(frame)
    assert "007" in table_text(frame, 200)


def test_the_csv_holds_every_column_and_what_some_rows_add(rows):
    rows[1]["batch"] = "04"
    text = csv_text(frame_of(rows, {}, NOW))
    read = list(csv.DictReader(io.StringIO(text)))
    assert list(read[0]) == [*COLUMNS, "batch"]
    assert [row["batch"] for row in read] == ["", "04", ""]


def test_the_table_holds_what_a_person_looks_for(rows):
    text = table_text(frame_of(rows, {}, NOW), 200)
    header, *lines = text.splitlines()
    assert len(lines) == 3
    for word in ("model", "status", "performance", "metric", "unit"):
        assert word in header
    for word in ("2026-11-21 11:30:00", "two", "SUCCESS", "tok", "tok/s", "docker"):
        assert word in lines[1]


def test_the_table_keeps_to_its_width(rows):
    assert max(map(len, table_text(frame_of(rows, {}, NOW), 80).splitlines())) <= 80


def test_brackets_in_a_cell_are_no_markup(rows):
    rows[0]["metric"] = "[red]tok[/red]"
    assert "[red]tok[/red]" in table_text(frame_of(rows, {}, NOW), 300)


def test_the_name_of_a_card_stands_for_its_rows_of_multiple_results(make_record):
    found = tuple(MetricResult(metric="tok", value=1.0, text="1", model=name) for name in ("x", "y"))
    rows = [
        *rows_of(make_record("20261121T000000Z-two-abcdef-1", card="two", metrics=found)),
        *rows_of(make_record("20261121T000000Z-two_x-y-abcdef-1", card="two_x-y")),
    ]
    assert list(frame_of(rows, {"model": "two"}, NOW)["model"]) == ["two_x", "two_y"]
    assert list(frame_of(rows, {"model": "two_x"}, NOW)["model"]) == ["two_x"]
    assert list(frame_of(rows, {"model": "two_x-y"}, NOW)["model"]) == ["two_x-y"]
