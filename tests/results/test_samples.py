"""Samples out of what a script printed or wrote."""

import json
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.channel.protocol import LINE_LIMIT
from madrun.results.samples import parse_line, repeated, samples_of_log
from madrun.spec.codec import to_plain
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


@pytest.fixture
def of_log(tmp_path):
    """What a log of these bytes holds, as read on node 3."""

    def read(content):
        log = tmp_path / "console.log"
        log.write_bytes(content if isinstance(content, bytes) else content.encode())
        return samples_of_log(log, 3)

    return read


def texts(reading):
    return [(sample.text, sample.metric) for sample in reading.samples]


def test_the_last_line_of_each_metric_counts_with_its_place(of_log):
    found = of_log(b"\xff\xfe\nperformance: 007 tok\nperformance: bad\nx\nperformance: 8 tok\nperformance: 1 \xffq")
    assert [(sample.text, sample.value, sample.source) for sample in found.samples] == [
        ("8", 8.0, "console.log:5"),
        ("1", 1.0, "console.log:6"),
    ]
    assert [(sample.times, sample.differed) for sample in found.samples] == [(2, True), (1, False)]
    assert {sample.node for sample in found.samples} == {3}
    assert found.findings == ()


def test_a_value_that_is_not_finite_is_a_sample_so_that_the_verdict_can_say_so(of_log):
    (sample,) = of_log("performance: nan tok\n").samples
    assert math.isnan(sample.value)


@pytest.mark.slow
def test_a_hundred_thousand_lines_of_one_metric_are_one_sample_and_one_note(of_log):
    (sample,) = of_log("performance: 1 tok\n" * 100_000 + "performance: 2 tok\n").samples
    assert (sample.text, sample.times) == ("2", 100_001)
    (note,) = repeated([sample])
    assert note == "node 3 printed tok 100001 times with different values; the last, 2, counts"


@pytest.mark.slow
def test_any_number_of_metrics_fits_one_message_between_nodes(of_log):
    lines = (f"performance: {number} step_{number}_{'x' * 150}\n" for number in range(40_000))
    found = of_log("".join(lines))
    assert 5_000 < len(found.samples) < 40_000
    assert len(json.dumps(to_plain(found))) < LINE_LIMIT / 2
    assert [part for part in ("console.log", "3 MiB", "left out") if part not in found.findings[0]] == []


@pytest.mark.parametrize(
    "trace", ["+ echo 'performance: 5 tok'", "+++ printf performance: 5 tok", "\x1b[1m+ performance: 5 t"]
)
def test_what_xtrace_prints_is_no_result(of_log, trace):
    assert texts(of_log(f"{trace}\nperformance: 6 tok\n")) == [("6", "tok")]


def test_a_long_xtrace_line_is_still_one(of_log):
    assert texts(of_log(f"+ echo {'x' * 400_000} performance: 5 tok\n")) == []


def test_a_sign_that_is_no_xtrace_counts(of_log):
    assert texts(of_log("+performance: 5 tok\n[rank0]: + performance: 6 ms\n")) == [("5", "tok"), ("6", "ms")]


def test_a_result_behind_any_number_of_progress_updates_is_found(of_log):
    bar = "".join(f"\r{percent}% |#####|" for percent in range(20_000))
    assert texts(of_log(f"{bar}\rperformance: 5 tok\nperformance: 6 ms")) == [("5", "tok"), ("6", "ms")]
    assert texts(of_log("x" * 300_000 + "performance: 5 tok\n")) == [("5", "tok")]


def test_results_between_carriage_returns_are_results_of_one_line(of_log):
    found = of_log("x\r\nperformance: 5 tok\rperformance: 6 ms\r\n")
    assert texts(found) == [("5", "tok"), ("6", "ms")]
    assert {sample.source for sample in found.samples} == {"console.log:2"}


def test_a_result_that_lies_across_two_blocks_is_found_at_its_line(of_log):
    lines = ("#" * 1023 + "\n") * 255  # the 256th ends with the block, but for the shift
    for shift in range(-30, 3):
        found = of_log(lines + "#" * (1023 + shift) + "\nperformance: 5 tok\r\nperformance: 6 ms\n")
        assert texts(found) == [("5", "tok"), ("6", "ms")]
        assert found.samples[1].source == "console.log:258"


def test_a_line_without_end_is_not_held_in_memory(tmp_path):
    log = tmp_path / "console.log"
    with log.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(0, 2)
        file.write(b" performance: 5 tok")
    tracemalloc.start()
    try:
        assert texts(samples_of_log(log, 0)) == [("5", "tok")]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "line",
    [
        "\x1b[32mperformance: 5 tok\x1b[0m",
        "performance: \x1b[1;31m5\x1b[m tok\x1b[K",
        "perfor\x1b[4mmance: 5 tok\x1b(B\x1b[m",
        "\x1b]0;title\x07performance: 5 \x1b]8;;http://x\x1b\\tok\x1b]8;;\x1b\\",
    ],
)
def test_escape_codes_are_no_part_of_a_result(of_log, line):
    assert texts(of_log(line)) == [("5", "tok")]


@pytest.mark.parametrize("line", ["performance: 12 345 tok/s", "performance: 1 234.5 tok/s"])
def test_a_metric_whose_name_is_a_number_is_a_finding_and_no_sample(of_log, line):
    found = of_log(f"{line}\n")
    assert found.samples == ()
    assert found.findings == (f"{line}: the metric's name is a number; thousands separators are not understood",)


@pytest.mark.parametrize("line", ["performance: 12,345 tok/s", "performance: 12", "performance:12 tok/s"])
def test_a_line_with_a_number_that_is_no_result_is_quoted(of_log, line):
    found = of_log(f"x\n{line}\nperformance: 1 a\n")
    assert found.notes == (f"console.log:2: no result: {line!r}; allowed: performance: <number> <metric>",)
    assert [sample.text for sample in found.samples] == ["1"]


def test_thousands_of_findings_are_ten_and_a_count(of_log):
    found = of_log("performance: 12 345 tok/s\n" * 5000)
    assert len(found.findings) == 11
    assert "4990 more" in found.findings[-1]


def sample(text, node=0, model=""):
    return Sample(node=node, metric="tok", value=float(text), text=text, source="s", model=model)


def test_a_metric_printed_twice_with_different_values_is_a_note():
    (note,) = repeated([sample("1"), sample("2"), sample("3", node=1)])
    assert "node 0 printed tok 2 times" in note
    assert "the last, 2, counts" in note
    assert repeated([sample("1"), sample("1"), sample("1", model="m"), sample("2", model="m")]) == []
