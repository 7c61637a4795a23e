"""--batch-manifest: which cards are built, and what of the list is refused."""

import json

import pytest

from madrun.cli.batch import BatchEntry, read_batch, registries_of
from madrun.errors import UsageError


def write(tmp_path, value):
    file = tmp_path / "batch.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(file)


def test_entries_are_read_as_they_are_written(tmp_path):
    file = write(tmp_path, [{"model_name": "a", "build_new": True, "registry": "localhost:5000"}])
    assert read_batch(file) == [BatchEntry(model_name="a", build_new=True, registry="localhost:5000")]
    assert registries_of(file) == {"a": "localhost:5000"}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("[{]", r"batch.json:1:3: not JSON"),
        ([], "found no entries"),
        ([{"build_new": True}], "entry 1: found .* allowed: an object with model_name"),
        ([{"model_name": "a", "build_new": "yes"}], "entry 1: build_new: found 'yes', allowed: true or false"),
        ([{"model_name": "a", "build": True}], "entry 1: unknown key 'build' .did you mean 'build_new'"),
        ([{"model_name": "a"}], "entry 1: a: neither build_new nor registry_image"),
        ([{"model_name": "a", "build_new": True, "registry": "http://x"}], "entry 1: registry: found 'http://x'"),
    ],
)
def test_what_is_wrong_is_named_by_its_entry(tmp_path, value, text):
    with pytest.raises(UsageError, match=text):
        read_batch(write(tmp_path, value))
