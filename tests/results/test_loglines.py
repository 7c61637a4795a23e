"""A log is read in blocks; which of them are passed over changes nothing but the time."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madrun.results import loglines
from madrun.results.loglines import marked, pieces

PARTS = st.sampled_from(["mark", "ma", "rk", "\n", "\r", "\r\n", "\x1b[0m", "+ ", "x" * 9, "é"])


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(loglines, "_BLOCK", 7)
    monkeypatch.setattr(loglines, "LONGEST", 12)


@given(st.lists(PARTS, max_size=30).map("".join))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_blocks_without_the_mark_change_neither_lines_nor_numbers(tmp_path, small_blocks, text):
    log = tmp_path / "log"
    log.write_bytes(text.encode())
    every = [(number, piece) for number, piece in pieces(log) if b"mark" in piece]
    assert [found for found in pieces(log, (b"mark", b"\x1b")) if b"mark" in found[1]] == every


def test_a_long_log_without_the_mark_is_passed_over(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"step 1 loss 2.0 and more of it\n" * 2_000_000 + b"mark 1\n")
    began = time.process_time()
    assert list(marked(log, "mark")) == [(2_000_001, "mark 1\n")]
    assert time.process_time() - began < 0.6  # a walk over its lines takes more than a second
