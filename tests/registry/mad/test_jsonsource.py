"""Where in a JSON file an entry or a key stands."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import CardError
from madrun.registry.mad.jsonsource import line_of, read_json, starts_of


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'[{"name": "a",}]', "models.json:1:15: not JSON"),
        (b"[\n {\n  'name': 1}]", "models.json:3:3: not JSON"),
        (b"", "models.json:1:1: not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1" + b"0" * 5000 + b"]", "not JSON that can be read"),
        (b"\xff[]", "found bytes that are not UTF-8 at 0"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path, content, said):
    file = tmp_path / "models.json"
    file.write_bytes(content)
    with pytest.raises(CardError) as caught:
        read_json(file)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(CardError, match="cannot be read: No such file"):
        read_json(tmp_path / "models.json")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    file = tmp_path / "models.json"
    file.write_bytes(b"\xef\xbb\xbf[]")
    assert read_json(file) == ("[]", [])


TEXT = """[
  {"name": "a", "slurm": {"nnodes": 1},
   "nnodes": 2},
  5, {
   "nnodes": 3, "x": "]}",
   "nnodes": 4}
]"""


@pytest.mark.parametrize(
    ("index", "key", "line"),
    [(0, None, 2), (0, "nnodes", 3), (0, "none", 2), (1, "x", 4), (2, None, 4), (2, "nnodes", 6)],
)
def test_the_line_is_that_of_the_key_that_counts(index, key, line):
    assert line_of(TEXT, starts_of(TEXT)[index], key) == line


values = (
    st.none()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.text())
)


@given(
    st.lists(st.dictionaries(st.text(max_size=4), values, max_size=4) | values, max_size=5), st.sampled_from([None, 1])
)
def test_every_entry_and_key_of_any_list_has_its_line(entries, indent):
    text = json.dumps(entries, indent=indent)
    starts = starts_of(text)
    assert len(starts) == len(entries)
    for start, entry in zip(starts, entries, strict=True):
        assert json.JSONDecoder().raw_decode(text, start)[0] == entry
        for key in entry if isinstance(entry, dict) else ():
            assert text.splitlines()[line_of(text, start, key) - 1].find(json.dumps(key)) >= 0 or not indent
