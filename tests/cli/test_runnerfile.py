"""The file that multi_node_args.CONFIG_FILE names."""

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from madrun.cli.runnerfile import runner_file
from madrun.errors import ContextError
from madrun.spec.card import Card
from madrun.spec.context import MultiNodeArgs


@pytest.fixture
def read(tmp_path):
    """Reads a file with this content, named by its path relative to the card's folder."""
    card = Card(name="one", folder=str(tmp_path), repository=str(tmp_path), source="s", script="run.sh")

    def found(content=None, name="acc.yaml", runner="accelerate"):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        return runner_file(card, MultiNodeArgs(RUNNER=runner, CONFIG_FILE=name))

    return found


def test_without_the_key_nothing_is_read(tmp_path):
    card = Card(name="one", folder=str(tmp_path), repository=str(tmp_path), source="s", script="run.sh")
    assert runner_file(card, MultiNodeArgs(RUNNER="torchrun")) is None


def test_yaml_and_json_are_read_and_known_by_their_bytes(read, tmp_path):
    found = read(b"distributed_type: FSDP\n")
    assert (found.path, found.box_name) == (str(tmp_path / "acc.yaml"), "runner-config.yaml")
    assert (found.values, found.digest) == (
        {"distributed_type": "FSDP"},
        hashlib.sha256(b"distributed_type: FSDP\n").hexdigest(),
    )
    assert read(b'{"a": 1}', "ds.json").box_name == "runner-config.json"
    assert read(b'{"a": 1}', "ds.conf", "deepspeed").values == {"a": 1}
    assert read(None, str(tmp_path / "acc.yaml")).values == found.values


@pytest.mark.parametrize(
    ("content", "name", "text"),
    [
        (None, "no.yaml", "found 'no.yaml', but there is no /.*no.yaml on this host"),
        (None, "run.sh/x", "but there is no"),
        (None, ".", "cannot be read: Is a directory"),
        (None, "~no-such-user/x", "whose user is not known here"),
        (b"a: [", "a.yaml", "a.yaml:1:5: not YAML"),
        (b"{a: 1}", "a.json", "a.json:1:2: not JSON"),
        (b"\xff", "a.yaml", "bytes that are not UTF-8"),
        (b"- a", "a.yaml", "found list, allowed: a map"),
        (b"", "a.yaml", "found NoneType, allowed: a map"),
        (b"a: 2001-99-99", "a.yaml", "not YAML that can be read"),
        (b"#" * (1 << 20) + b"#", "a.yaml", "larger than 1 MiB"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(read, tmp_path, content, name, text):
    (tmp_path / "run.sh").touch()
    with pytest.raises(ContextError, match=f"multi_node_args.CONFIG_FILE: .*{text}"):
        read(content, name)


@pytest.mark.parametrize("runner", ["torchrun", "plain", "script", "mpirun"])
def test_a_runner_that_reads_none_is_an_error_with_those_that_do(read, runner):
    with pytest.raises(ContextError, match=f"RUNNER '{runner}', .*allowed with: accelerate, deepspeed; a file for the"):
        read(b"a: 1", runner=runner)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.sampled_from(["a.yaml", "a.json"]))
def test_any_bytes_are_a_map_or_an_error_that_names_the_file(read, content, name):
    try:
        assert all(isinstance(key, str) for key in read(content, name).values)
    except ContextError as error:
        assert name in str(error)
