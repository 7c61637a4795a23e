"""The driver's snapshot of its environment, as it is kept."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.snapshot import keep_environment, parse_environment
from madrun.node.workspace import Workspace

NAMES = st.text(st.characters(exclude_characters="=\0", exclude_categories=["Cs"]), min_size=1, max_size=9)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)


@given(st.dictionaries(NAMES, VALUES))
def test_every_environment_is_read_back(values):
    data = b"".join(f"{name}={value}\0".encode() for name, value in values.items())
    assert parse_environment(data) == values
    assert list(parse_environment(data)) == sorted(values)


@given(st.binary(max_size=50))
def test_no_bytes_make_the_parser_fail(data):
    assert all(name and "=" not in name for name in parse_environment(data))


@pytest.fixture
def space(tmp_path):
    made = Workspace(tmp_path)
    made.box.mkdir()
    return made


def test_values_of_secrets_are_masked_wherever_they_stand(space):
    (space.box / "environment").write_bytes(b"URL=https://u:geheim@host\0A=1\0")
    keep_environment(space, {"HF_TOKEN": "geheim"})
    assert json.loads((space.root / "environment.json").read_text()) == {"A": "1", "URL": "https://u:***@host"}


@pytest.mark.parametrize("kind", ["none", "link", "fifo"])
def test_without_a_regular_snapshot_nothing_is_kept(space, kind):
    if kind == "link":
        (space.box / "environment").symlink_to("/proc/self/environ")
    elif kind == "fifo":
        os.mkfifo(space.box / "environment")
    keep_environment(space, {})
    assert not (space.root / "environment.json").exists()
