"""How a number differs from the one before it: only from one that was measured under the same conditions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.results.mad.rows import SAME_NAME
from madrun.results.perfcsv import COLUMNS
from madrun.results.relative import CONDITIONS, Changes

ROW = dict.fromkeys(COLUMNS, "") | {
    "model": "m",
    "performance": "100",
    "metric": "tok",
    "status": "SUCCESS",
    "gpu_architecture": "gfx942",
    "machine_name": "alpha",
}


def change(*earlier, row=ROW):
    changes = Changes(COLUMNS)
    for one in earlier:
        changes.fill([dict(one)])
    row = dict(row)
    changes.fill([row])
    return row["relative_change"]


@pytest.mark.parametrize(
    ("before", "text"),
    [("80", "+0.2500"), ("125", "-0.2000"), ("100", "+0.0000"), ("-100", "+2.0000"), ("0", ""), ("1e-320", "")],
)
def test_the_change_is_a_signed_fraction_of_the_earlier_number(before, text):
    assert change(ROW | {"performance": before}) == text


def test_without_an_earlier_number_there_is_none():
    assert change() == ""


def test_the_previous_valid_one_counts():
    failed = ROW | {"performance": "", "status": "FAILURE"}
    assert change(ROW | {"performance": "50"}, ROW | {"performance": "80"}, failed) == "+0.2500"
    assert change(ROW | {"performance": "80"}, row=failed) == ""


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_number_under_other_conditions_is_no_earlier_one(name):
    assert change(ROW | {name: "other"}) == ""


def test_a_further_column_is_a_condition_too():
    assert change(ROW | {"tp": "4"}, row=ROW | {"tp": "8"}) == ""
    assert change(ROW | {"tp": "8"}, row=ROW | {"tp": "8"}) == "+0.0000"
    assert change(ROW, row=ROW | {"tp": ""}) == "+0.0000"


@pytest.mark.parametrize("name", ["docker_image", "docker_sha", "git_commit", "run_id", "args_of_others", "madrun"])
def test_what_one_wants_to_compare_is_no_condition(name):
    known = [*COLUMNS, "args_of_others"]
    changes = Changes(known)
    changes.fill([ROW | {name: "before"}])
    row = ROW | {name: "after"}
    changes.fill([row])
    assert row["relative_change"] == "+0.0000"


def test_hosts_without_gpus_are_compared_with_themselves_alone():
    here = ROW | {"gpu_architecture": ""}
    assert change(here | {"machine_name": "beta"}, row=here) == ""
    assert change(here, row=here) == "+0.0000"
    assert change(ROW | {"machine_name": "beta"}) == "+0.0000"


def test_rows_that_nothing_tells_apart_are_compared_with_none():
    twin = ROW | {SAME_NAME: "1"}
    assert change(twin, row=twin) == ""


def test_rows_of_one_run_are_not_compared_with_each_other():
    changes = Changes(COLUMNS)
    rows = [ROW | {"metric": "a"}, ROW | {"metric": "a"}]
    changes.fill(rows)
    assert [row["relative_change"] for row in rows] == ["", ""]


@given(st.lists(st.text(max_size=8)))
def test_no_text_in_place_of_a_number_is_a_fault(texts):
    changes = Changes(COLUMNS)
    for text in texts:
        changes.fill([ROW | {"performance": text}])
