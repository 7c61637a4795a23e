"""data.json and what the context says above it, with errors that say where."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.data.config import _merged, read_config
from madrun.errors import DataError


@pytest.fixture
def data_json(repository):
    def write(value):
        (repository / "data.json").write_text(value if isinstance(value, str) else json.dumps(value))
        return repository

    return write


def failure(repository, file=None, said=None):
    with pytest.raises(DataError) as caught:
        read_config(repository, file, said or {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "data.json:1:2: not JSON"),
        ("[]", "a map of names"),
        ('{"c": 1}', "a map of names"),
        ("\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_broken_data_json_is_named_with_the_place(data_json, content, part):
    assert part in failure(data_json(content))


def test_a_missing_data_json_is_named(repository):
    assert "data.json does not exist, but the card names data" in failure(repository)


def test_another_file_is_read_and_named_where_it_is_missing(repository, tmp_path):
    other = tmp_path / "other.json"
    assert f"--data-config: {other} does not exist" in failure(repository, str(other))
    other.write_text('{"c": {"local": {"path": "x"}}}')
    config = read_config(repository, str(other), {})
    assert (config.file, config.names["c"]["local"]["path"]) == (other, "x")


def test_the_context_counts_before_the_file_key_by_key(data_json):
    repository = data_json({"c": {"local": {"path": "x", "home": "/h"}}, "d": {"aws": {"path": "b/p"}}})
    said = {"c": {"local": {"path": "y"}}, "d": None, "e": {"local": {"path": "z"}}}
    assert read_config(repository, None, said).names == {
        "c": {"local": {"path": "y", "home": "/h"}},
        "d": {},
        "e": {"local": {"path": "z"}},
    }


def test_the_context_can_take_a_provider_away_and_needs_no_file(repository, data_json):
    assert read_config(repository, None, {"c": {"aws": {"path": "b"}}}).names["c"] == {"aws": {"path": "b"}}
    data_json({"c": {"local": {"path": "x"}, "aws": {"path": "b"}}})
    assert read_config(repository, None, {"c": {"local": None}}).names["c"] == {"aws": {"path": "b"}}


def test_what_of_the_context_is_no_map_is_an_error(data_json):
    assert "context: data.c: found 3, allowed: a map of providers" in failure(data_json({}), said={"c": 3})


MAPS = st.recursive(st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3))
TOP = st.dictionaries(st.sampled_from("abc"), MAPS, max_size=3)


@given(TOP, TOP)
def test_merging_keeps_everything_above_and_changes_neither(below, above):
    before = json.dumps([below, above])
    merged = _merged(below, above)
    assert json.dumps([below, above]) == before
    assert merged.keys() == below.keys() | above.keys()
    assert _merged(merged, above) == merged
