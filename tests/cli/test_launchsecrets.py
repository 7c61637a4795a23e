"""Values of secrets are in no word and no text of a launch, and mean on its nodes what they meant here."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from madrun.cli.launchsecrets import apart, masked, of_plan, without_values
from madrun.cli.layers import set_values, site_layer, user_layers
from madrun.cli.options import RunOptions
from madrun.cli.privatevalues import is_reference, put_back
from madrun.cli.request import make_request
from madrun.errors import ContextError
from madrun.planning.layers import parse_text
from madrun.spec.context import Context

FILE, SITE = "--additional-context-file", "--site"


def parted(text=None, name="c.json", flag=FILE, passed=None, **options):
    """Options, private values by reference, and the text of the file, out of what was typed."""
    texts, given = ({name: text}, {flag: name}) if text is not None else ({}, {})
    kept, values = apart(RunOptions(tags=["one"], **options), given, texts, passed or {})
    return kept, values, texts.get(name)


def plain(values):
    return sorted(json.loads(value) for value in values.values())


def layers(options):
    return user_layers(make_request(options))


def test_words_without_a_secret_stay_as_they_were_typed():
    typed = {"additional_context": "{'docker_env_vars':{'A':'b'}}", "env": ["B=c"], "set_key": ["shm_size=1g"]}
    kept, values, text = parted("{ 'timeout': 5 }", **typed)
    assert (values, text) == ({}, "{ 'timeout': 5 }")
    assert {name: getattr(kept, name) for name in typed} == typed


@pytest.mark.parametrize(
    "typed",
    [
        {"additional_context": '{"docker_env_vars": {"A": "b", "HF_TOKEN": "hush"}, "timeout": 5}'},
        {"additional_context": "{'docker_env_vars': {'HF_TOKEN': 'hu\\nsh'}}"},
        {"additional_context": "{'docker_env_vars': {'HF_TOKEN': 4711}}"},
        {"additional_context": "{'docker_build_arg': {'GH_TOKEN': 'hush', 'A': 'b'}}"},
        {"additional_context": "{'tools': [{'name': 't', 'env_vars': {'API_KEY': 'hush'}}]}"},
        {"set_key": ["docker_env_vars.HF_TOKEN=hush", "shm_size=1g"]},
        {"set_key": ["docker_env_vars={HF_TOKEN: hush, A: b}"]},
        {"additional_context": "{'docker_env_vars': {'HF_TOKEN': 'hush-low'}}", "env": ["HF_TOKEN=hush"]},
        {"env": ["HF_TOKEN=low"], "set_key": ["docker_env_vars.HF_TOKEN=hush"]},
        {"additional_context": "{'docker_env_vars': {'HF_TOKEN': 'hush'}}", "set_key": ["docker_env_vars.HF_TOKEN=5"]},
        {"env": ["HF_TOKEN=hush-hush", "ADDRESS=http://me:hush-hush@x"]},
        {"env": ["HF_TOKEN=hush-hush"], "arg": ["--plain", "--token=hush-hush"]},
        {"additional_context": "{'docker_env_vars': {'HF_TOKEN': 471147}}", "arg": ["--token 471147"]},
        {"additional_context": "{'tools': [{'name': 't', 'API_KEYS': ['hush', 'hushed']}]}"},
    ],
)
def test_a_secret_goes_by_reference_and_every_layer_means_what_it_meant(monkeypatch, typed):
    kept, values, _ = parted(**typed)
    words = repr((kept.additional_context, kept.set_key, kept.arg))
    assert "hu" not in words and "4711" not in words
    assert "me:hush" not in repr(kept.env)
    assert all(is_reference(name) for name in values)
    for name, value in values.items():  # as the private file does
        monkeypatch.setenv(name, value)
    assert [layer.values for layer in layers(kept)] == [
        layer.values for layer in layers(RunOptions(tags=["one"], **typed))
    ]


def test_the_value_of_a_secret_that_is_named_alone_stands_in_no_other_word(monkeypatch):
    monkeypatch.setenv("HERE_TOKEN", "hush-here")
    kept, values, _ = parted(env=["HERE_TOKEN"], arg=["--token hush-here"], set_key=["model_args=--token hush-here"])
    assert plain(values) == ["--token hush-here"]
    assert (kept.env, kept.arg) == (["HERE_TOKEN"], ["MADRUN_SECRET_1"])
    assert kept.set_key == ["model_args=MADRUN_SECRET_1"]


def test_a_reference_of_another_launch_goes_on_as_the_value_that_it_has_here(monkeypatch):
    monkeypatch.setenv("MADRUN_SECRET_1", '"elsewhere"')
    typed = {"additional_context": "{'docker_env_vars': {'HF_TOKEN': 'hush', 'A': 'MADRUN_SECRET_1'}}"}
    kept, values, _ = parted(**typed, env=["B_TOKEN=MADRUN_SECRET_1", "C=MADRUN_SECRET_1"])
    assert put_back(parse_text(kept.additional_context, ""), "", values) == {
        "docker_env_vars": {"HF_TOKEN": "hush", "A": "elsewhere"}
    }
    assert kept.env[0] == "B_TOKEN=elsewhere" and values[kept.env[1].removeprefix("C=")] == '"elsewhere"'


def test_one_value_has_one_reference():
    _, values, _ = parted(
        "{'docker_env_vars': {'A_KEY': 'hush', 'B_KEY': 'hush'}}", set_key=["docker_env_vars.C_KEY=x"]
    )
    assert plain(values) == ["hush", "x"]


@pytest.mark.parametrize(("name", "dump"), [("c.yaml", yaml.safe_dump), ("c.json", json.dumps), ("c", repr)])
@pytest.mark.parametrize("flag", [FILE, SITE])
def test_a_file_goes_along_without_them_in_its_own_notation(tmp_path, monkeypatch, flag, name, dump):
    context = {"docker_env_vars": {"HF_TOKEN": "hush", "A": "ü"}, "docker_build_arg": {"X": "1", "X_KEY": "hush2"}}
    _, values, text = parted(dump(context), name, flag)
    assert plain(values) == ["hush", "hush2"]
    assert "hush" not in text
    (tmp_path / name).write_text(text, encoding="utf-8")
    for reference, value in values.items():
        monkeypatch.setenv(reference, value)
    option = flag.removeprefix("--").replace("-", "_")
    request = make_request(RunOptions(tags=["one"], **{option: str(tmp_path / name)}))
    found = site_layer(request, tmp_path) if flag == SITE else user_layers(request)
    assert [layer.values for layer in found] == [context]


def test_without_the_private_file_a_reference_is_an_error_that_names_both():
    found = (
        "site.yaml: found MADRUN_SECRET_7, which stands for a secret of a launch; its value is in the launch's private"
    )
    with pytest.raises(ContextError, match=found):
        put_back({"docker_env_vars": {"A": "MADRUN_SECRET_7"}}, "site.yaml", {})


def test_what_a_backend_is_told_is_no_value_of_a_secret():
    inline = "{'kubernetes': {'secrets': {'HF_TOKEN': 'name/key'}, 'pull_secrets': ['mine']}}"
    kept, values, _ = parted(additional_context=inline, set_key=["kubernetes.secrets.HF_TOKEN=name/key"])
    assert (values, kept.additional_context) == ({}, inline)
    assert kept.set_key == ["kubernetes.secrets.HF_TOKEN=name/key"]


def test_a_value_that_goes_to_the_nodes_anyway_stands_in_no_other_word():
    kept, values, _ = parted(passed={"MAD_SECRETS_A": "hush-hush"}, env=["B=the hush-hush"])
    assert plain(values) == ["the hush-hush"]
    assert "hush" not in repr(kept)


VALUES = st.one_of(st.text(max_size=8), st.integers())


@given(st.dictionaries(st.sampled_from(["A", "HF_TOKEN", "MY_PASSWORD"]), VALUES, min_size=1))
def test_whatever_the_values_are_nothing_is_lost(variables):
    kept, values, _ = parted(additional_context=repr({"docker_env_vars": variables, "timeout": 5}))
    rest = parse_text(kept.additional_context, "")
    secret = {name: value for name, value in variables.items() if name != "A" and value != ""}
    assert all(is_reference(rest["docker_env_vars"][name]) for name in secret)
    assert put_back(rest, "", values) == {"docker_env_vars": variables, "timeout": 5}


def test_what_was_typed_is_written_down_without_them_and_without_those_of_a_build():
    context = Context(docker_build_arg={"GH_TOKEN": "built", "PLAIN": "plain"})
    typed = ("madrun", "run", "-c", "{'T': 'hush', 'B': 'built', 'N': 4711}", "--arg", "plain here", "--nodes", "4")
    private = {"T_TOKEN": "hush", "OTHER": "here", "MADRUN_SECRET_1": "4711", "MADRUN_SECRET_2": "4"}
    assert masked(typed, private, context) == (
        *("madrun", "run", "-c", "{'T': '***', 'B': '***', 'N': ***}", "--arg", "plain here", "--nodes", "4"),
    )


def test_a_map_of_a_set_word_keeps_what_is_no_secret():
    kept, values, _ = parted(set_key=["docker_env_vars={HF_TOKEN: hush, A: 'on'}"])
    (found,) = [set_values(word, "--set") for word in kept.set_key]
    assert found == {"docker_env_vars": {"HF_TOKEN": "MADRUN_SECRET_1", "A": "on"}}
    assert plain(values) == ["hush"]


def test_secrets_that_a_saved_plan_names_are_those_of_this_host():
    job = {"secrets": ["HF_TOKEN", "GONE"], "image": {"build_args": {"GH_TOKEN": "{secret}", "A": "b"}}}
    env = {"HF_TOKEN": "hush", "GH_TOKEN": "built", "A": "x"}
    assert of_plan(json.dumps({"job": job}), env) == {"HF_TOKEN": "hush", "GH_TOKEN": "built"}
    assert of_plan("no plan", env) == of_plan('{"job": 1}', env) == of_plan("[]", env) == {}


def test_where_nobody_needs_a_value_a_word_stands_for_it():
    many = {f"N{number}_TOKEN": f"hush-{number}" for number in range(11)}
    options = RunOptions(
        additional_context=str({"docker_env_vars": {**many, "A": "b"}}),
        env=["E_TOKEN=hush", "HERE", "B=c", "D=to hush-10 too"],
        set_key=["docker_env_vars.S_TOKEN=hush", "shm_size=1g"],
    )
    kept = without_values(options)
    assert parse_text(kept.additional_context, "")["docker_env_vars"] == {**dict.fromkeys(many, "hidden"), "A": "b"}
    assert kept.env == ["E_TOKEN=hidden", "HERE", "B=c", "D=hidden"]
    assert kept.set_key == ["docker_env_vars.S_TOKEN=hidden", "shm_size=1g"]
    assert without_values(RunOptions()) == RunOptions()
