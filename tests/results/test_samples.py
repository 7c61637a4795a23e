"""Samples out of what a script printed or wrote."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.results.samples import parse_line, repeated, samples_of_csv, samples_of_log
from madrun.spec.record import Sample

metrics = st.text(
    st.characters(blacklist_categories=("Cs", "Z", "Cc"), blacklist_characters=",\x1c\x1d\x1e\x1f\x85"), min_size=1
)


@pytest.mark.parametrize(
    ("line", "number", "metric"),
    [
        ("performance: 123.4 tokens_per_sec", "123.4", "tokens_per_sec"),
        ("performance: 123.4 tokens/s/GPU", "123.4", "tokens/s/GPU"),
        ("performance:\t7 x", "7", "x"),
        ("2026-11-21 [rank0] performance: 007 x", "007", "x"),
        ("performance: +1. x", "+1.", "x"),
        ("performance: -.5 x", "-.5", "x"),
        ("performance: 1e5 x", "1e5", "x"),
        ("performance: 1.5E-07 x", "1.5E-07", "x"),
        ("performance: 5, x", "5", "x"),
        ("performance: 5 /sec, x", "5", "x"),
        ("performance: 5/sec x", "5", "x"),
        ("performance: 5,/sec, x", "5", "x"),
        ("performance: 5 x, performance: 6 y", "5", "x"),
        ("50%\rperformance: 5 x", "5", "x"),
        ("performance: nan x", "nan", "x"),
        ("performance: -Inf x", "-Inf", "x"),
        ("performance: infinity x", "infinity", "x"),
    ],
)
def test_these_lines_are_performance_lines(line, number, metric):
    assert parse_line(line) == (number, metric)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "performance:5 x",
        "performance: x 5",
        "performance: 5",
        "performance: 5 ",
        "performance: 5tokens x",
        "performance: 1.2.3 x",
        "performance: 0x10 x",
        "performance: 1_000 x",
        "performance: nano x",
        "performance: e5 x",
        "Performance: 5 x",
        "performance 5 x",
        "performance: 5 ,",
    ],
)
def test_these_lines_are_none(line):
    assert parse_line(line) is None


@given(st.floats(allow_nan=False, allow_infinity=False), metrics)
def test_every_number_that_python_prints_is_read_back(number, metric):
    parsed = parse_line(f"performance: {number!r} {metric}")
    assert parsed is not None
    assert (float(parsed[0]), parsed[1]) == (number, metric)


@given(st.text(max_size=40) | st.text("performance: 0123.e+-naif/,xX\t", max_size=40).map("performance: {}".format))
def test_any_line_gives_a_number_and_a_word_or_nothing(line):
    parsed = parse_line(line)
    if parsed is not None:
        float(parsed[0])
        assert parsed[1]
        assert not any(letter.isspace() or letter == "," for letter in parsed[1])


def test_every_line_of_a_log_counts_with_its_place(tmp_path):
    log = tmp_path / "console.log"
    log.write_bytes(b"\xff\xfe\nperformance: 007 tok\nperformance: bad\nx\nperformance: 8 tok\nperformance: 1 \xffq")
    found = samples_of_log(log, 3)
    assert [(sample.text, sample.value, sample.source) for sample in found] == [
        ("007", 7.0, "console.log:2"),
        ("8", 8.0, "console.log:5"),
        ("1", 1.0, "console.log:6"),
    ]
    assert {sample.node for sample in found} == {3}


def test_a_value_that_is_not_finite_is_a_sample_so_that_the_verdict_can_say_so(tmp_path):
    (tmp_path / "console.log").write_text("performance: nan tok\n")
    (sample,) = samples_of_log(tmp_path / "console.log", 0)
    assert math.isnan(sample.value)


def read_csv(tmp_path, text):
    file = tmp_path / "out.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return samples_of_csv(file, 1)


def test_rows_of_a_csv_become_samples_with_what_else_they_say(tmp_path):
    samples, problems = read_csv(tmp_path, "model, performance ,metric,batch\nm1,007, tok,1\n\nm2,8.5,tok,2\n")
    assert problems == []
    assert samples == [
        Sample(node=1, metric="tok", value=7.0, text="007", source="out.csv:2", model="m1", extra={"batch": "1"}),
        Sample(node=1, metric="tok", value=8.5, text="8.5", source="out.csv:4", model="m2", extra={"batch": "2"}),
    ]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    assert read_csv(tmp_path, b"\xef\xbb\xbfmodel,performance,metric\nm,1,x\n")[1] == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["out.csv", "model, performance, metric is missing", "found: nothing"]),
        ("models,performance,metric\nm,1,x\n", ["column model is missing", "models"]),
        ("model,performance,metric\nm,fast,x\n", ["out.csv:2", "'fast'", "a number"]),
        ("model,performance,metric\nm,,x\n", ["out.csv:2", "''", "a number"]),
        ("model,performance,metric\nm,1\n", ["out.csv:2", "2 cells under 3 columns"]),
        ("model,performance,metric\nm,1 2,x\n", ["out.csv:2", "'1 2'"]),
        (b"\xff\xff", ["out.csv cannot be read"]),
    ],
)
def test_a_wrong_csv_is_a_finding_with_the_place(tmp_path, text, parts):
    samples, problems = read_csv(tmp_path, text)
    assert samples == []
    assert len(problems) == 1
    assert [part for part in parts if part not in problems[0]] == []


def test_good_rows_of_a_csv_with_a_bad_one_count(tmp_path):
    samples, problems = read_csv(tmp_path, "model,performance,metric\nm,1,x\nm,bad,y\nm,2,z\n")
    assert [sample.metric for sample in samples] == ["x", "z"]
    assert len(problems) == 1


def test_a_csv_that_is_not_there_is_a_finding(tmp_path):
    samples, problems = samples_of_csv(tmp_path / "none.csv", 0)
    assert (samples, len(problems)) == ([], 1)


@given(st.binary(max_size=80) | st.binary(max_size=60).map(b"model,performance,metric\n".__add__))
def test_any_bytes_are_samples_or_findings(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("any") / "out.csv"
    file.write_bytes(content)
    samples, problems = samples_of_csv(file, 0)
    assert all(isinstance(sample.value, float) for sample in samples)
    assert all("out.csv" in problem for problem in problems)


def sample(text, node=0, model=""):
    return Sample(node=node, metric="tok", value=float(text), text=text, source="s", model=model)


def test_a_metric_printed_twice_with_different_values_is_a_note():
    (note,) = repeated([sample("1"), sample("2"), sample("3", node=1)])
    assert "node 0 printed tok 2 times" in note
    assert "the last, 2, counts" in note
    assert repeated([sample("1"), sample("1"), sample("1", model="m"), sample("2", model="m")]) == []
