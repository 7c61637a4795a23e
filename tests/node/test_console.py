"""The console log holds everything but the secrets, wherever a secret is cut."""

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.console import MASK, Console, last_lines

secrets = st.text("abAB12", min_size=4, max_size=8)


def logged(path, chunks, *hidden):
    console = Console(path, hidden)
    for chunk in chunks:
        console.write(chunk)
    console.close()
    assert console.error == ""
    text = path.read_bytes()
    assert console.sha256 == hashlib.sha256(text).hexdigest()
    path.unlink()
    return text


def pieces_of(text, cuts):
    ends = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


@given(st.binary(max_size=60), st.lists(st.integers(0, 100), max_size=8))
def test_without_secrets_every_byte_is_kept(tmp_path_factory, text, cuts):
    assert logged(tmp_path_factory.mktemp("log") / "console.log", pieces_of(text, cuts)) == text


@given(secrets, st.lists(st.text("abAB12 \n", max_size=9), max_size=6), st.lists(st.integers(0, 300), max_size=12))
def test_a_secret_is_masked_wherever_it_is_cut_and_nothing_else_changes(tmp_path_factory, secret, parts, cuts):
    text = secret.join(parts).encode()
    written = logged(tmp_path_factory.mktemp("log") / "console.log", pieces_of(text, cuts), secret)
    assert written == text.replace(secret.encode(), MASK)


@given(
    st.lists(secrets, min_size=1, max_size=3),
    st.lists(st.text("abAB12", max_size=6), max_size=5),
    st.lists(st.integers(0, 300), max_size=12),
)
def test_of_several_secrets_none_is_left(tmp_path_factory, hidden, parts, cuts):
    text = "".join(part + hidden[index % len(hidden)] for index, part in enumerate(parts)).encode()
    written = logged(tmp_path_factory.mktemp("log") / "console.log", pieces_of(text, cuts), *hidden)
    assert [secret for secret in hidden if secret.encode() in written] == []


@pytest.mark.parametrize("hidden", [("abcd", "abcdefgh"), ("abcdefgh", "abcd")])
def test_of_two_secrets_with_one_beginning_no_end_is_left(tmp_path, hidden):
    assert logged(tmp_path / "console.log", [b"x abcdefgh y abcd z"], *hidden) == b"x *** y *** z"


def test_a_short_word_is_no_secret(tmp_path):
    assert logged(tmp_path / "console.log", [b"abc 1"], "abc", "1", "") == b"abc 1"


def test_what_may_begin_a_secret_is_written_at_the_end(tmp_path):
    assert logged(tmp_path / "console.log", [b"text abc"], "abcdef") == b"text abc"


def test_output_is_in_the_file_at_once(tmp_path):
    console = Console(tmp_path / "console.log")
    try:
        console.write(b"first\n")
        assert (tmp_path / "console.log").read_bytes() == b"first\n"
    finally:
        console.close()


def test_a_full_disk_is_kept_as_an_error_and_raises_nothing():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    console = Console(Path("/dev/full"))
    console.write(b"x")
    console.write(b"y")
    console.close()
    assert "not complete: No space left" in console.error


def test_the_last_lines_of_a_log(tmp_path):
    log = tmp_path / "console.log"
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(100)) + b"torn \xff")
    assert last_lines(log, 3) == ("line 98", "line 99", "torn \ufffd")
    assert len(last_lines(log)) == 30
    assert len(last_lines(log, 1000, window=40)) < 10
    assert last_lines(tmp_path / "none.log") == ()


def test_the_last_lines_of_a_failed_rank_are_not_those_of_torchrun(tmp_path):
    log = tmp_path / "console.log"
    report = "E1121 9 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1) local_rank: 0"
    log.write_text("\n".join(["FAILED loss: found 6.26", report, "Traceback (most recent call last):", *["x"] * 40]))
    assert last_lines(log) == ("FAILED loss: found 6.26", report)


def test_what_comes_late_is_waited_for_where_nothing_tells_the_end(tmp_path):
    console = Console(tmp_path / "console.log")
    late = threading.Timer(0.1, console.write, [b"performance: 5 tok\n"])
    late.start()
    console.settle()
    console.close()
    late.join()
    assert (tmp_path / "console.log").read_bytes() == b"performance: 5 tok\n"
