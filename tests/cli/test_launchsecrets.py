"""Values of secret variables are in no word and no text of a launch, and mean on its nodes what they meant here."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from madrun.cli.launchsecrets import apart, masked
from madrun.cli.layers import set_values, user_layers
from madrun.cli.options import RunOptions
from madrun.cli.request import make_request
from madrun.planning.layers import parse_text
from madrun.spec.context import Context

FILE = "--additional-context-file"


def parted(text=None, name="c.json", **options):
    """Options, values, and the text of the context's file, out of what was typed."""
    texts, given = ({name: text}, {FILE: name}) if text is not None else ({}, {})
    typed = RunOptions(tags=["one"], **options)
    kept, values = apart(typed, make_request(typed), texts, given)
    return kept, values, texts.get(name)


def merged(options):
    """The variables that these words mean, each layer above the one before."""
    found = {}
    for layer in user_layers(make_request(options)):
        found |= layer.values.get("docker_env_vars", {})
    return found


def test_words_without_a_secret_stay_as_they_were_typed(tmp_path):
    (tmp_path / "c.json").write_text("{ 'timeout': 5 }")
    typed = {"additional_context": "{'docker_env_vars':{'A':'b'}}", "env": ["B=c"], "set_key": ["shm_size=1g"]}
    kept, values, text = parted("{ 'timeout': 5 }", additional_context_file=str(tmp_path / "c.json"), **typed)
    assert (values, text) == ({}, "{ 'timeout': 5 }")
    assert {name: getattr(kept, name) for name in typed} == typed


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ({"additional_context": '{"docker_env_vars": {"A": "b", "HF_TOKEN": "hush"}, "timeout": 5}'}, "hush"),
        ({"additional_context": "{'docker_env_vars': {'HF_TOKEN': 'hu\\nsh'}}"}, "hu\nsh"),
        ({"env": ["HF_TOKEN=hush", "A=b"]}, "hush"),
        ({"set_key": ["docker_env_vars.HF_TOKEN=hush", "shm_size=1g"]}, "hush"),
        ({"set_key": ["docker_env_vars={HF_TOKEN: hush, A: b}"]}, "hush"),
        ({"additional_context": "{'docker_env_vars': {'HF_TOKEN': 'low'}}", "env": ["HF_TOKEN=hush"]}, "hush"),
        ({"env": ["HF_TOKEN=low"], "set_key": ["docker_env_vars.HF_TOKEN=hush"]}, "hush"),
    ],
)
def test_a_secret_goes_by_name_and_its_last_value_counts(monkeypatch, typed, value):
    kept, values, _ = parted(**typed)
    assert values == {"HF_TOKEN": value}
    assert "hu" not in repr(kept)
    assert "low" not in repr(kept)
    assert kept.env[-1] == "HF_TOKEN"
    monkeypatch.setenv("HF_TOKEN", value)  # as the private file does
    assert merged(kept) == merged(RunOptions(tags=["one"], **typed))


@pytest.mark.parametrize(("name", "dump"), [("c.yaml", yaml.safe_dump), ("c.json", json.dumps), ("c", repr)])
def test_a_context_file_goes_along_without_them_in_its_own_notation(tmp_path, name, dump):
    context = {"docker_env_vars": {"HF_TOKEN": "hush", "A": "ü"}, "docker_build_arg": {"X": "1"}}
    (tmp_path / name).write_text(dump(context), encoding="utf-8")
    _, values, text = parted(dump(context), name, additional_context_file=str(tmp_path / name))
    assert values == {"HF_TOKEN": "hush"}
    read = yaml.safe_load if name.endswith("yaml") else lambda text: parse_text(text, "")
    assert read(text) == {"docker_env_vars": {"A": "ü"}, "docker_build_arg": {"X": "1"}}


def test_the_last_word_on_a_secret_that_is_no_text_stays_above_all_others():
    inline = "{'docker_env_vars': {'HF_TOKEN': 'low'}}"
    kept, values, _ = parted(additional_context=inline, set_key=["docker_env_vars.HF_TOKEN=123456"])
    assert (values, kept.additional_context, kept.env) == ({}, inline, None)


@given(st.dictionaries(st.sampled_from(["A", "HF_TOKEN", "MY_PASSWORD"]), st.text(max_size=8), min_size=1))
def test_whatever_the_values_are_nothing_else_is_lost(variables):
    kept, values, _ = parted(additional_context=repr({"docker_env_vars": variables, "timeout": 5}))
    rest = parse_text(kept.additional_context, "")
    assert rest["timeout"] == 5
    assert rest["docker_env_vars"] | values == variables
    assert values.keys() == variables.keys() - {"A"}


def test_what_was_typed_is_written_down_without_them_and_without_those_of_a_build():
    context = Context(docker_build_arg={"GH_TOKEN": "built", "PLAIN": "plain"})
    typed = ("madrun", "run", "-c", "{'T': 'hush', 'B': 'built'}", "--arg", "plain here")
    assert masked(typed, {"T_TOKEN": "hush", "OTHER": "here"}, context) == (
        *("madrun", "run", "-c", "{'T': '***', 'B': '***'}", "--arg", "plain here"),
    )


def test_a_set_word_is_left_out_only_where_nothing_else_is_in_it():
    kept, _, _ = parted(set_key=["docker_env_vars={HF_TOKEN: hush}", "docker_env_vars={HF_TOKEN: hush, A: 'on'}"])
    assert [set_values(word, "--set") for word in kept.set_key] == [{"docker_env_vars": {"A": "on"}}]
