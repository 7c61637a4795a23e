"""Lines of a log that speak against a run: found whole, with their numbers, and nothing benign among them."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.results.mad import logerrors
from madrun.results.mad.logerrors import MOST, PATTERNS, errors_in
from madrun.spec.mad import LogErrors


def found(tmp_path, text, **rules):
    log = tmp_path / "console.log"
    log.write_bytes(text if isinstance(text, bytes) else text.encode())
    return errors_in(log, LogErrors(**rules))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_usual_pattern_is_found_with_the_number_of_its_line(tmp_path, pattern):
    (error,) = found(tmp_path, f"fine\nfine too\nrank 3: {pattern} here\nfine\n")
    assert (error.number, error.pattern) == (3, pattern)
    assert error.said("console.log") == f"console.log:3: rank 3: {pattern} here (error pattern {pattern!r})"


@pytest.mark.parametrize(
    "line",
    [
        "x.py:3: FutureWarning: RuntimeError: will be raised",
        "E20251230 12:00:00.123456 4711 tool.cpp:57] Opened result file, ValueError: none",
        "[rocprofv3] FAILED to open nothing",
        "(raylet) Failed to establish connection to the metrics exporter agent. RuntimeError: x",
        "+ grep FAILED report.txt",
        "++ echo 'RuntimeError: x'",
        "no problem at all",
    ],
)
def test_a_benign_line_is_none(tmp_path, line):
    assert found(tmp_path, f"{line}\n") == ()


def test_benign_texts_of_the_card_are_literal_and_added_to_the_usual_ones(tmp_path):
    text = "ValueError: a+b is expected here\nFutureWarning RuntimeError:\nImportError: no\n"
    (error,) = found(tmp_path, text, benign=("a+b",))
    assert error.number == 3
    assert len(found(tmp_path, text, benign=("a.b",))) == 2


def test_patterns_of_the_card_stand_in_the_place_of_the_usual_ones(tmp_path):
    (error,) = found(tmp_path, "RuntimeError: x\nKilled by (me)\n", patterns=("Killed by (",))
    assert (error.number, error.pattern) == (2, "Killed by (")


def test_nothing_is_looked_for_where_the_scan_is_off(tmp_path):
    assert found(tmp_path, "RuntimeError: x\n", scan=False) == ()
    assert found(tmp_path, "RuntimeError: x\n", patterns=()) == ()


def test_only_the_first_lines_are_told(tmp_path):
    errors = found(tmp_path, "FAILED\n" * 100)
    assert [error.number for error in errors] == list(range(1, MOST + 1))


def test_a_line_is_shown_short_and_without_colours(tmp_path):
    (error,) = found(tmp_path, b"\x1b[31mRuntimeError: \xff\x07" + b"x" * 500 + b"\n")
    assert error.text.startswith("RuntimeError: ")
    assert error.text.isprintable()
    assert len(error.text) < 200


def test_what_a_progress_bar_wrote_over_counts_by_its_own_piece(tmp_path):
    (error,) = found(tmp_path, "step 1\rstep 2\rRuntimeError: x\rstep 3\n")
    assert error.text == "RuntimeError: x"


@given(
    before=st.integers(0, 300),
    width=st.integers(1, 90),
    block=st.sampled_from([7, 64, 1000]),
    pattern=st.sampled_from(PATTERNS),
    last=st.booleans(),
)
def test_a_line_is_found_wherever_the_blocks_are_cut(tmp_path_factory, before, width, block, pattern, last):
    log = tmp_path_factory.mktemp("log") / "console.log"
    log.write_text("y" * width + "\n" + ("y" * width + "\n") * before + f"z {pattern} z" + ("" if last else "\nend\n"))
    original, logerrors._BLOCK = logerrors._BLOCK, block
    try:
        (error,) = errors_in(log, LogErrors())
    finally:
        logerrors._BLOCK = original
    assert (error.number, error.text) == (before + 2, f"z {pattern} z")


def test_a_line_without_end_is_looked_through_in_pieces(tmp_path):
    text = b"x" * (3 << 20) + b"RuntimeError: deep" + b"y" * (1 << 20)
    (error,) = found(tmp_path, text)
    assert (error.number, error.pattern) == (1, "RuntimeError:")


def test_a_large_log_costs_little(tmp_path):
    line = b"iteration 100 | loss 3.141 | tokens/s 12345.6 | Error rate 0.1 | no Exception so far\n"
    started = time.process_time()
    assert found(tmp_path, line * 200_000) == ()
    assert time.process_time() - started < 3
