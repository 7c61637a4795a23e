"""Lines of a log that come twice or not at all, and results between marks."""

import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.kubernetes.home import Sieve, bring_home
from madrun.backends.kubernetes.podlog import Seen, split
from madrun.errors import DataError

STAMPS = st.integers(0, 30).map(lambda tick: f"2026-11-21T00:00:{tick // 10:02d}.{str(tick % 10) * 3}".rstrip("0."))


def stamped(number):
    """As Go prints it: no zeros at the end of the fraction, and none of that where it is zero."""
    seconds, fraction = divmod(number, 1000)
    text = f"2026-11-21T00:00:{seconds:02d}"
    return (f"{text}.{fraction:03d}".rstrip("0") if fraction else text) + "Z"


@given(st.lists(st.integers(0, 2500), min_size=1).map(sorted), st.data())
def test_a_log_that_is_taken_up_again_at_any_place_gives_every_line_once(moments, data):
    log = [f"{stamped(moment)} line {number}\n".encode() for number, moment in enumerate(moments)]
    seen, found, at = Seen(), [], 0
    while at < len(log):
        seen.again()
        begin = data.draw(st.integers(0, at))  # so many seconds ago: what came since then comes again
        at = data.draw(st.integers(at + 1, len(log)))
        found += [text for line in log[begin:at] if (text := seen.take(line)) is not None] if begin == 0 else []
        if begin:
            last = moments[at - 1] if at else 0
            begin = next(place for place, moment in enumerate(moments) if moment >= min(moments[begin], last))
            found += [text for line in log[begin:at] if (text := seen.take(line)) is not None]
    assert found == [f"line {number}\n".encode() for number in range(len(log))]


@given(st.integers(0, 59_999), st.integers(0, 59_999))
def test_stamps_sort_by_time(first, second):
    one, two = (split(f"{stamped(moment)} x".encode())[0] for moment in (first, second))
    assert (one < two) == (first < second) and (one == two) == (first == second)


@given(st.binary())
def test_a_line_without_a_stamp_is_left_as_it_is(line):
    stamp, text = split(line)
    assert stamp is None and text == line or line.endswith(b" " + text)


@given(
    st.lists(
        st.binary(max_size=30).map(
            lambda text: text.replace(b"\n", b"").replace(b"@", b"").replace(b"\x0e", b"") + b"\n"
        )
    ),
    st.binary(max_size=9000),
    st.lists(st.text(max_size=5), max_size=2),
)
def test_results_are_taken_out_of_a_log_and_the_rest_is_shown_as_it_was(lines, data, left_out):
    shown = []
    sieve = Sieve("@m:x", shown.append)
    head = [f"@m:x begin {hashlib.sha256(data).hexdigest()} {len(data)}\n".encode()]
    body = [base64.b64encode(data[at : at + 3000]) + b"\n" for at in range(0, len(data), 3000)]
    for line in [*lines, b"\n", *head, *body, f"@m:x end {json.dumps(left_out)}\n".encode(), *lines]:
        sieve.take(line)
    sieve.flush()
    assert shown == lines * 2 and sieve.archive == data and sieve.left_out == tuple(left_out)


def test_results_that_did_not_come_whole_are_none():
    sieve = Sieve("@m:x", lambda _line: None)
    for line in (f"@m:x begin {hashlib.sha256(b'abc').hexdigest()} 3\n".encode(), b"YWI=\n", b"@m:x end []\n"):
        sieve.take(line)
    assert sieve.archive is None and sieve.damaged


def test_what_others_print_amid_an_archive_is_shown_and_does_not_harm_it():
    data, shown = b"x" * 4000, []
    sieve = Sieve("@m:x", shown.append)
    body = [base64.b64encode(data[at : at + 3000]) + b"\n" for at in range(0, len(data), 3000)]
    for line in (
        f"@m:x begin {hashlib.sha256(data).hexdigest()} 4000\n".encode(),
        b"done\n",
        body[0],
        b"left behind\n",
        b"\n",
        body[1],
        b"@m:x end []\n",
    ):
        sieve.take(line)
    sieve.flush()
    assert shown == [b"done\n", b"left behind\n", b"\n"] and sieve.archive == data and not sieve.damaged


def test_a_line_that_comes_late_is_shown_and_neither_it_nor_its_fellows_come_twice():
    log = [f"{stamped(moment)} {moment}\n".encode() for moment in (5, 4, 6)]
    seen, found = Seen(), []
    for begin, end in ((0, 2), (0, 3)):
        seen.again()
        found += [text for line in log[begin:end] if (text := seen.take(line)) is not None]
    assert found == [b"5\n", b"4\n", b"6\n"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "runs/../../x"])
def test_a_path_that_leads_out_of_the_results_is_refused(tmp_path, name):
    import io
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(DataError, match="no file below its results"):
        bring_home(made.getvalue(), tmp_path / "results")
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == []


def test_lines_of_standard_error_are_told_apart_even_amid_an_archive():
    shown, told = [], []
    sieve = Sieve("@m:x", shown.append, told.append)
    digest = hashlib.sha256(b"abc").hexdigest()
    for line in (
        b"one\n",
        b"\x0etwo\n",
        f"@m:x begin {digest} 3\n".encode(),
        b"\x0ethree\n",
        b"YWJj\n",
        b"@m:x end []\n",
    ):
        sieve.take(line)
    assert (shown, told, sieve.archive) == ([b"one\n"], [b"two\n", b"three\n"], b"abc")
