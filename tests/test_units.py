"""Durations and sizes as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (1.5, 1.5),
        ("90", 90.0),
        ("90s", 90.0),
        ("250ms", 0.25),
        ("5m", 300.0),
        ("5min", 300.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1h30m", 5400.0),
        (" 1H 30M ", 5400.0),
        ("1.5h", 5400.0),
    ],
)
def test_a_duration_means_these_seconds(written, seconds):
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("written", "size"),
    [(0, 0), (4096, 4096), ("512", 512), ("1k", 1024), ("512m", 512 << 20), ("16g", 16 << 30), ("1.5GiB", 3 << 29)],
)
def test_a_size_means_these_bytes(written, size):
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "h", "2x", "1h2", "-5", "5 s x", "1e3", None, True, -1, math.nan, math.inf])
def test_a_wrong_duration_is_shown_with_the_allowed_forms(written):
    with pytest.raises(ValueError, match="found .*allowed: seconds as a number") as caught:
        parse_duration(written)
    assert repr(written) in str(caught.value)


@pytest.mark.parametrize("written", ["", "g", "1x", "-1", "1 2", None, False, -1, math.nan, math.inf])
def test_a_wrong_size_is_shown_with_the_allowed_forms(written):
    with pytest.raises(ValueError, match="found .*allowed: bytes as a number") as caught:
        parse_size(written)
    assert repr(written) in str(caught.value)


@pytest.mark.parametrize("parse", [parse_duration, parse_size])
@pytest.mark.parametrize("written", ["9" * 400, 10**400], ids=["text", "number"])
def test_a_number_beyond_all_floats_is_refused(parse, written):
    with pytest.raises(ValueError, match="found .*allowed: "):
        parse(written)


@given(st.one_of(st.text(max_size=20), st.from_regex(r"[0-9.]{1,8}(ms|s|m|h|d|k|g|b| ){0,3}", fullmatch=True)))
def test_any_text_is_a_finite_quantity_or_a_value_error(text):
    for parse in (parse_duration, parse_size):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert 0 <= value < math.inf


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59))
def test_parts_of_a_duration_add_up(hours, minutes, seconds):
    assert parse_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.344, "0.34 s"), (12.34, "12.3 s"), (125, "2m05s"), (3720, "1h02m"), (3599.6, "1h00m")],
)
def test_a_duration_is_printed_in_three_figures(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (512, "512 B"),
        (16 << 10, "16 KiB"),
        (999 << 20, "999 MiB"),
        (1010 << 20, "0.986 GiB"),
        (3 << 29, "1.5 GiB"),
        (5 << 50, "5.12e+03 TiB"),
    ],
)
def test_a_size_is_printed_with_a_unit(size, text):
    assert format_size(size) == text
