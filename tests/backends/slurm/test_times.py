"""Time limits, as sbatch(1) writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.slurm.times import parse_time, time_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("5:30", 330),
        ("1:30:00", 5400),
        ("48:00:00", 172800),
        ("2-12", 216000),
        ("2-12:30", 217800),
        ("1-00:00:01", 86401),
        ("90m", 5400),
        ("1h30m", 5400),
        ("2d", 172800),
        ("UNLIMITED", None),
        ("infinite", None),
        ("0", None),
        ("0:00", None),
        ("0.5s", 1),
    ],
)
def test_a_limit_means_what_sbatch_reads(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "1x", "1:2:3:4", "-5", "1-", "1-2-3", ":30", "1.5", "1:-2", "ten", "٣", "9" * 12])
def test_what_sbatch_does_not_read_is_refused_with_the_forms(text):
    with pytest.raises(ValueError, match=r"allowed: text as sbatch takes it"):
        parse_time(text)


@given(st.integers(1, 10**8))
def test_a_rendered_limit_is_read_as_the_same(seconds):
    assert parse_time(time_text(seconds)) == seconds


@given(st.text(max_size=12) | st.from_regex(r"[0-9:-]{1,10}", fullmatch=True))
def test_any_text_is_seconds_or_refused(text):
    try:
        seconds = parse_time(text)
    except ValueError:
        return
    assert seconds is None or seconds > 0
