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
