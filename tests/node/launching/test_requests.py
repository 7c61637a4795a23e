"""Requests are read as madrun-launch writes them, once, and nothing else is taken for one."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from madrun.node.launching.requests import Unreadable, answer, parse_request, pending, taken

WORD = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True)


def written(*parts):
    return b"".join(part.encode() + b"\0" for part in parts)


@given(WORD, WORD, WORD, st.dictionaries(NAMES, WORD))
def test_a_request_is_read_as_it_is_written(host, directory, text, env):
    data = written(host, directory, text, *(f"{name}={value}" for name, value in env.items()))
    request = parse_request("1.2", data)
    assert (request.host, request.directory, request.text, request.env) == (host, directory, text, env)


@given(st.binary() | st.lists(st.binary()).map(lambda parts: b"".join(part + b"\0" for part in parts)))
@example(b"")
@example(b"a\0b\0")
@example(b"\xff\0\xff\0\xff\0A=\xff\0")
def test_any_bytes_are_a_request_or_none(data):
    try:
        request = parse_request("1.2", data)
    except Unreadable:
        return
    assert data.endswith(b"\0")
    assert data.count(b"\0") >= 3
    assert "\0" not in request.host + request.directory + request.text


def test_functions_that_bash_exports_are_no_variables():
    assert parse_request("1.2", written("h", "/", "w", "BASH_FUNC_x%%=() { :; }", "A=b=c")).env == {"A": "b=c"}


@pytest.mark.parametrize("name", ["../1.2", "1", "x.1", "1.2.3"])
def test_only_names_that_madrun_launch_gives_are_looked_at(tmp_path, name):
    with pytest.raises(Unreadable):
        parse_request(name, written("h", "/", "w"))
    (tmp_path / f"{name.replace('/', '_')}.ready").touch()
    assert pending(tmp_path, set()) == []


def test_what_has_been_read_is_gone_for_it_may_hold_secrets(tmp_path):
    (tmp_path / "1.2.request").write_bytes(written("h", "/", "w", "TOKEN=x"))
    (tmp_path / "1.2.ready").touch()
    assert pending(tmp_path, set()) == ["1.2"]
    assert pending(tmp_path, {"1.2"}) == []
    assert taken(tmp_path, "1.2").env == {"TOKEN": "x"}
    (tmp_path / "3.4.request").write_bytes(b"half of one")
    with pytest.raises(Unreadable):
        taken(tmp_path, "3.4")
    assert not list(tmp_path.glob("*.request"))


def test_the_code_is_there_only_when_the_words_are(tmp_path):
    answer(tmp_path, "1.2", "words\n", 3)
    assert ((tmp_path / "1.2.out").read_text(), (tmp_path / "1.2.code").read_text()) == ("words\n", "3\n")


def test_a_folder_that_is_gone_holds_no_requests(tmp_path):
    assert pending(tmp_path / "none", set()) == []
