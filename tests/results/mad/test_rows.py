"""Rows of a MAD card's `multiple_results`: none is lost, none is confused with another, each speaks for itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.results.mad.rows import SAME_NAME
from madrun.results.table import samples_of_csv


def read(tmp_path, text):
    file = tmp_path / "perf.csv"
    file.write_text(text)
    return samples_of_csv(file, 0, lenient=True)


@pytest.mark.parametrize("cell", ["", "N/A", "nan", "1,5 tok"])
def test_a_row_without_a_number_stands_against_itself_alone(tmp_path, cell):
    found = read(tmp_path, f'model,performance,metric\na,5,tok\nb,"{cell}",tok\n')
    assert found.findings == ()
    good, bad = found.samples
    assert (good.text, good.missing) == ("5", "")
    assert math.isnan(bad.value)
    assert bad.missing.startswith("b tok has no number: perf.csv:3: performance: found ")


def test_a_row_without_a_metric_or_with_other_columns_stands_against_the_run(tmp_path):
    found = read(tmp_path, "model,performance,metric\na,5,\nb,6,tok,7\nc,8,tok\n")
    assert [sample.model for sample in found.samples] == ["c"]
    assert any("perf.csv:2: metric is empty" in text for text in found.findings)
    assert any("perf.csv:3: 4 cells under 3 columns" in text for text in found.findings)


def test_rows_that_nothing_tells_apart_are_all_kept_and_named(tmp_path):
    found = read(tmp_path, "model,performance,metric\nm,5,tok\nm,3,tok\nm,1,ms\n")
    assert [(sample.text, sample.extra.get(SAME_NAME)) for sample in found.samples] == [
        ("5", "1"),
        ("3", "2"),
        ("1", None),
    ]
    (note,) = found.notes
    assert "m tok is there 2 times" in note
    assert "nothing tells the rows apart" in note


def test_a_native_card_is_read_as_strictly_as_ever(tmp_path):
    file = tmp_path / "perf.csv"
    file.write_text("model,performance,metric\nm,5,tok\nm,3,tok\nb,,tok\n")
    found = samples_of_csv(file, 0)
    assert len(found.findings) == 2
    assert [sample.text for sample in found.samples] == ["5"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "", "x", "2.5"]), st.sampled_from(["t", "u"]))))
def test_every_row_that_names_a_metric_becomes_one_sample(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("csv") / "perf.csv"
    file.write_text("model,performance,metric\n" + "".join(f"{','.join(row)}\n" for row in rows))
    found = samples_of_csv(file, 0, lenient=True)
    assert len(found.samples) == len(rows)
    assert sorted(sample.text for sample in found.samples) == sorted(text for _, text, _ in rows)
