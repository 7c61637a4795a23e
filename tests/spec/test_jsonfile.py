"""A JSON file that a user wrote."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.spec.jsonfile import Unreadable, read_json


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=9))
def test_what_was_written_is_read(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "value.json"
    file.write_text(json.dumps(value))
    assert read_json(file) == (json.dumps(value), value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1,\n  b}', ":2:3: not JSON: "),
        (b"", ":1:1: not JSON: "),
        (b"\xff{}", ": found bytes that are not UTF-8 at 0"),
        (b"[" * 100_000, ": not JSON that can be read: nested too deeply"),
        (b"1" * 5000, ": not JSON that can be read: a number has too many digits"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why_and_nothing_of_its_text(tmp_path, content, said):
    file = tmp_path / "value.json"
    file.write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        read_json(file)
    assert str(caught.value).startswith(f"{file}{said}")
    assert len(str(caught.value)) < 400


def test_a_byte_order_mark_is_no_part_of_it(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[]")
    assert read_json(tmp_path / "a.json") == ("[]", [])


def test_what_is_not_there_is_for_the_caller_to_judge(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "a.json")
    with pytest.raises(Unreadable, match="cannot be read: Is a directory; make it readable"):
        read_json(tmp_path)
