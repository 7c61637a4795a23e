"""The line of every key is known, so that an error can say where."""

import pytest

from madrun.errors import CardError
from madrun.registry.yamlsource import line_of, read_yaml

TEXT = "name: x\nmetrics:\n  tok:\n    unit: s\ntags:\n  - a\n  - b\n"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ((), 1),
        (("name",), 1),
        (("metrics", "tok", "unit"), 4),
        (("tags", 1), 7),
        (("metrics", "tok", "missing", "deeper"), 3),
        (("missing",), 1),
    ],
)
def test_the_line_of_a_key_or_of_the_longest_part_that_is_there(tmp_path, keys, line):
    file = tmp_path / "x.yaml"
    file.write_text(TEXT)
    assert line_of(file, keys) == line


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CardError, match=f"{tmp_path}/none.yaml: cannot be read"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(CardError, match="latin.yaml: cannot be read"):
        read_yaml(tmp_path / "latin.yaml")


def read(tmp_path, text):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    return read_yaml(file)


@pytest.mark.parametrize(
    "text", ["a: {b: 1, b: 2}\n", 'x: 1\n"b": 1\nb: 2\n', "- {b: 1, b: 1}\n", "a: &a {b: 1, b: 2}\nc: *a\n"]
)
def test_a_key_that_stands_twice_in_a_map_is_refused(tmp_path, text):
    with pytest.raises(CardError, match=r"x.yaml:\d: b: found again, first in line \d; allowed: each key once"):
        read(tmp_path, text)


def test_merged_keys_may_be_replaced(tmp_path):
    text = "base: {inner: &a {<<: &b {x: 1, y: 2}, x: 3}}\nc: {<<: *a, y: 5}\nd: {<<: *b, <<: *a}\n"
    found = read(tmp_path, text)
    assert found["base"]["inner"] == {"x": 3, "y": 2}
    assert found["c"] == {"x": 3, "y": 5}


def test_an_alias_that_leads_back_is_read(tmp_path):
    found = read(tmp_path, "&a\nself: *a\n")
    assert found["self"] is found


@pytest.mark.parametrize("text", ["a: 2026-02-31\n", "[" * 20_000])
def test_yaml_that_means_nothing_is_a_card_error(tmp_path, text):
    with pytest.raises(CardError, match="x.yaml"):
        read(tmp_path, text)
