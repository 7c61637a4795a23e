"""The layers of the context: both notations, deep merge, origins, warnings, errors that name layer and key."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import ContextError
from madrun.planning.layers import card_layer, merge, parse_text, resolve
from madrun.spec.card import Card
from madrun.spec.context import SET_BY_MADRUN, SET_FROM_ARGS, Layer

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def failure(*layers):
    with pytest.raises(ContextError) as caught:
        resolve(list(layers))
    return str(caught.value)


def test_the_context_of_the_documented_command_is_understood_as_it_is_quoted():
    text = """{'multi_node_args': {'RUNNER': 'torchrun',
        'MASTER_ADDR': '10.227.23.63', 'MASTER_PORT': '29501', 'NNODES': '2', 'NODE_RANK': '0',
        'NCCL_SOCKET_IFNAME': 'ens14np0', 'GLOO_SOCKET_IFNAME': 'ens14np0'}}"""
    context, _, warnings = resolve([Layer("--additional-context", parse_text(text, "--additional-context"))])
    args = context.multi_node_args
    assert (args.RUNNER, args.MASTER_ADDR, args.MASTER_PORT) == ("torchrun", "10.227.23.63", 29501)
    assert (args.NNODES, args.NODE_RANK, args.NCCL_SOCKET_IFNAME) == (2, 0, "ens14np0")
    assert warnings == []


@given(st.dictionaries(st.text(max_size=8), plain, max_size=4))
def test_json_and_python_literals_mean_the_same_map(value):
    assert parse_text(json.dumps(value), "x") == value
    assert parse_text(f"  {value!r}", "x") == value


@given(st.text(st.sampled_from("{}[](),:'\"\\ntx01.eE-+*abTrue \n\x00"), max_size=30) | st.text(max_size=30))
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_any_text_is_a_map_or_an_error_that_names_the_layer(text):
    try:
        value = parse_text(text, "--additional-context")
    except ContextError as error:
        assert str(error).startswith("--additional-context: ")
        return
    assert all(isinstance(key, str) for key in value)


@pytest.mark.parametrize(
    "text",
    ["{[]: 1}", "{{}: 1}", "[" * 100_000, "{" * 100_000, '{"a": ' + "9" * 5000 + "}", "-" * 100_000 + "1"],
    ids=["list as key", "map as key", "deep list", "deep map", "long number", "many signs"],
)
def test_hostile_text_is_an_error_that_names_the_layer(text):
    with pytest.raises(ContextError, match="^--additional-context: "):
        parse_text(text, "--additional-context")


@pytest.mark.parametrize("text", ["[1]", "3", "'x'", "{1: 2}", "null"])
def test_what_is_no_map_is_refused(text):
    with pytest.raises(ContextError, match="^layer: .*allowed: a map of names to values"):
        parse_text(text, "layer")


def test_broken_text_is_shown_near_the_place_with_an_example():
    with pytest.raises(ContextError, match="near character") as caught:
        parse_text("{'multi_node_args': {'NNODES' 2}}", "--additional-context")
    assert "NNODES" in str(caught.value)
    assert "allowed: a map such as" in str(caught.value)


def test_broken_text_of_several_lines_is_shown_near_the_place():
    text = "{'multi_node_args': {'RUNNER': 'torchrun',\n   'MASTER_ADDR': '10.0.0.1',\n   'NNODES' 2}}"
    with pytest.raises(ContextError, match="near character") as caught:
        parse_text(text, "--additional-context")
    assert "NNODES" in str(caught.value)


def test_later_layers_replace_scalars_and_add_to_maps():
    merged, _, _ = merge(
        [
            Layer("low", {"timeout": 1, "docker_env_vars": {"A": "1", "B": "2"}}),
            Layer("high", {"timeout": 2, "docker_env_vars": {"B": "3", "C": "4"}}),
        ]
    )
    assert merged == {"timeout": 2, "docker_env_vars": {"A": "1", "B": "3", "C": "4"}}


def test_merging_leaves_the_layers_as_they_were():
    layers = [
        Layer("a", {"docker_env_vars": "wrong"}),
        Layer("b", {"docker_env_vars": {"B": "1"}}),
        Layer("c", {"docker_env_vars": {"C": "2"}}),
    ]
    merge(layers)
    assert layers[1].values == {"docker_env_vars": {"B": "1"}}


def test_every_value_knows_each_layer_that_set_it():
    _, origins, _ = merge(
        [Layer("low", {"docker_env_vars": {"A": "1"}}), Layer("high", {"docker_env_vars": {"A": "2"}})]
    )
    assert [(origin.key, origin.said) for origin in origins] == [("docker_env_vars.A", (("low", "1"), ("high", "2")))]


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"docker_env_var": {}}, ["unknown key docker_env_var", "did you mean 'docker_env_vars'?"]),
        ({"multi_node_args": {"NNODE": 2}}, ["multi_node_args.NNODE", "did you mean 'NNODES'?"]),
        ({"zzzzzzzzzz": 1}, ["zzzzzzzzzz", "known: multi_node_args"]),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one_and_has_no_effect(values, parts):
    context, _, warnings = resolve([Layer("--additional-context", values)])
    assert context == resolve([])[0]
    assert len(warnings) == 1
    assert warnings[0].startswith("--additional-context: ")
    assert [part for part in parts if part not in warnings[0]] == []


def test_numbers_as_text_and_text_as_numbers_are_coerced():
    values = {"multi_node_args": {"NNODES": "2"}, "docker_env_vars": {"NCCL_IB_GID_INDEX": 3}}
    context, _, _ = resolve([Layer("x", values)])
    assert context.multi_node_args.NNODES == 2
    assert context.docker_env_vars == {"NCCL_IB_GID_INDEX": "3"}


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"multi_node_args": {"NNODES": "two"}}, ["multi_node_args.NNODES", "'two'", "a whole number"]),
        ({"multi_node_args": {"NNODES": "0"}}, ["multi_node_args.NNODES", "'0'", ">= 1"]),
        ({"multi_node_args": {"NODE_RANK": -1}}, ["multi_node_args.NODE_RANK", "-1", ">= 0"]),
        ({"multi_node_args": {"MASTER_PORT": "0"}}, ["multi_node_args.MASTER_PORT", "'0'", ">= 1"]),
        ({"multi_node_args": "x"}, ["multi_node_args", "'x'", "a map"]),
        ({"docker_env_vars": ["A=1"]}, ["docker_env_vars", "['A=1']", "a map"]),
        ({"docker_env_vars": {"A": [1]}}, ["docker_env_vars.A", "[1]", "text"]),
        ({"docker_env_vars": {"A B": "1"}}, ["docker_env_vars", "'A B'", "a variable's name"]),
        ({"docker_mounts": {"data": "/data"}}, ["docker_mounts", "'data'", "absolute path in the container"]),
        ({"docker_mounts": {"/data": "data"}}, ["docker_mounts", "'data'", "absolute path on the host"]),
        ({"docker_mounts": {"/": "/data"}}, ["docker_mounts", "'/'", "neither / nor /madrun"]),
        ({"docker_mounts": {"/x/../madrun//work/": "/data"}}, ["docker_mounts", "nor below it"]),
        ({"docker_mounts": {"/madrun/": "/data"}}, ["docker_mounts", "'/madrun/'", "place of madrun's own files"]),
        ({"runtime": "podmann"}, ["runtime", "'podmann'", "'auto', 'docker', 'podman' or 'process'"]),
        ({"timeout": "soon"}, ["timeout", "'soon'", "1h30m"]),
        ({"grace": -1}, ["grace", "-1", "seconds"]),
        ({"shm_size": "16x"}, ["shm_size", "'16x'", "512m"]),
        ({"collect_limit": "much"}, ["collect_limit", "'much'", "512m"]),
        ({"collect_limit": -1}, ["collect_limit", "-1"]),
        ({"ipc": "shared"}, ["ipc", "'shared'", "'private' or 'host'"]),
        ({"nofile": "many"}, ["nofile", "'many'", "a whole number"]),
        ({"nofile": -5}, ["nofile", "-5", ">= 1"]),
        ({"shm_size": 0}, ["shm_size", "found 0", "more than 0"]),
        ({"shm_size": "0g"}, ["shm_size", "'0g'", "more than 0"]),
        ({"timeout": ""}, ["timeout", "''", "1h30m"]),
        ({"timeout": True}, ["timeout", "found True (bool)"]),
        ({"multi_node_args": {"NNODES": True}}, ["multi_node_args.NNODES", "found True (bool)"]),
        ({"model_args": "it's"}, ["model_args", "unbalanced quote in args"]),
        ({"model_args": "a\nb"}, ["model_args", "a line break"]),
        ({"model_args": "a\0b"}, ["model_args", "without NUL"]),
        ({"more_args": ["--a", "it's"]}, ["more_args", "unbalanced quote in args"]),
        ({"more_args": "--a"}, ["more_args", "found '--a'", "a list"]),
        ({"docker_mounts": {"in": "/on"}}, ["docker_mounts", "{'in': '/on'}", "absolute path", ":ro"]),
        ({"docker_mounts": {"/in": "on:ro"}}, ["docker_mounts", "{'/in': 'on:ro'}", "absolute path"]),
        ({"docker_build_arg": {"A": "x\0y"}}, ["docker_build_arg.A", "without NUL"]),
    ],
)
def test_a_wrong_value_is_named_with_layer_key_found_and_allowed(values, parts):
    text = failure(Layer("built-in", {}), Layer("--site x.yaml", values))
    assert text.startswith("--site x.yaml: ")
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize("limit", [0, "0", "20g"])
def test_nothing_is_a_size_for_what_nodes_bring(limit):
    assert resolve([Layer("site", {"collect_limit": limit})])[0].collect_limit == limit


def test_the_layer_that_is_named_is_the_one_whose_value_counted():
    text = failure(
        Layer("site", {"multi_node_args": {"NNODES": "two"}}), Layer("flag", {"multi_node_args": {"NNODES": "three"}})
    )
    assert text.startswith("flag: ")
    assert "'three'" in text


@pytest.mark.parametrize("key", ["timeout", "shm_size"])
def test_a_wrong_type_where_number_and_text_are_allowed_names_layer_and_key_alone(key):
    text = failure(Layer("flag", {key: [1]}))
    assert text.startswith(f"flag: {key}: found [1]")


def test_every_wrong_value_is_reported():
    text = failure(Layer("a", {"multi_node_args": {"NNODES": "two", "NODE_RANK": "x"}}), Layer("b", {"nofile": "y"}))
    assert len(text.splitlines()) == 3
    assert "b: nofile" in text


def test_a_card_speaks_in_a_layer_of_its_own():
    card = Card(
        name="one", folder="f", repository="r", source="s", script="x", env={"A": "1"}, timeout_s=5.0, runner="plain"
    )
    assert card_layer(card) == Layer(
        "card one", {"docker_env_vars": {"A": "1"}, "timeout": 5.0, "multi_node_args": {"RUNNER": "plain"}}
    )


@pytest.mark.parametrize("name", [*SET_FROM_ARGS, *SET_BY_MADRUN])
def test_what_madrun_sets_may_not_be_set_as_a_variable(name):
    assert f"x: docker_env_vars.{name}: is set " in failure(Layer("x", {"docker_env_vars": {name: "1"}}))


def test_the_place_of_the_data_may_be_set_as_a_variable():
    context, _, _ = resolve([Layer("x", {"docker_env_vars": {"MAD_DATAHOME": "/data"}})])
    assert context.docker_env_vars == {"MAD_DATAHOME": "/data"}


def test_a_secret_that_cannot_be_passed_is_not_shown():
    assert "hf_" not in failure(Layer("x", {"docker_env_vars": {"HF_TOKEN": "hf_\0"}}))
