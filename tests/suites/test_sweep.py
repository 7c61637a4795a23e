"""Sweeps: what is typed comes apart at commas outside of quotes, and every value reads as it was meant."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.cli.layers import set_values
from madrun.errors import UsageError
from madrun.suites.sweep import NNODES, Axis, check_axes, key_problem, make_axis, points, read_axis, text_of

PLAIN = (
    st.text("abcXYZ0123456789-_ ./:", min_size=1).map(str.strip).filter(lambda text: text and text[0] not in "[{'\"")
)
VALUE = st.recursive(
    st.booleans() | st.integers() | st.sampled_from([0.5, -2.25, 1000.0]) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


def is_text_of_yaml(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def test_an_alias_stands_for_a_key_of_the_context():
    assert read_axis("nnodes=1,2,04") == Axis("nnodes", NNODES, ("1", "2", "4"))
    assert read_axis("runner=torchrun").key == "multi_node_args.RUNNER"
    assert read_axis("nproc_per_node=8").key == "multi_node_args.NPROC_PER_NODE"


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("model_args=--bs 1,--bs 2", ("--bs 1", "--bs 2")),
        ("model_args=--bs '1,2' , --bs 3", ("--bs '1,2'", "--bs 3")),
        ('model_args="--bs 1,--bs 2"', ("--bs 1,--bs 2",)),
        ("model_args=don't,do", ("don't", "do")),
        ("model_args=--x='a,b',--y", ("--x='a,b'", "--y")),
        ("timeout=[90s, 2h]", ("90s", "2h")),
        ("timeout=[90, '90']", ("90", '"90"')),
        ("model_args=''", ('""',)),
        ("model_args='2'", ('"2"',)),
        ("docker_env_vars={A: 1}", ("{A: 1}",)),
    ],
)
def test_values_are_told_apart_at_commas_outside_of_quotes(word, values):
    assert read_axis(word).values == values


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("nnodes", "allowed: KEY=VALUE,VALUE"),
        ("=1", "allowed: KEY=VALUE,VALUE"),
        ("nnodes=", "allowed: KEY=VALUE,VALUE"),
        ("nnodes=1,,2", "found an empty value"),
        ("nnodes=1,2,1", "found '1' twice"),
        ("nnodes=0", "found '0', allowed: whole numbers from 1"),
        ("nnodes=two", "found 'two', allowed: whole numbers from 1"),
        ("multi_node_args.NNODES=-1", "allowed: whole numbers from 1"),
        ("model_args='a", "a quote ' is not closed"),
        ("timeout=[]", "found no values"),
    ],
)
def test_what_is_no_sweep_is_refused_in_words(word, told):
    with pytest.raises(UsageError) as caught:
        read_axis(word)
    assert str(caught.value).startswith("--sweep")
    assert told in str(caught.value)


@given(st.text())
def test_any_word_is_an_axis_or_a_usage_error(word):
    try:
        axis = read_axis(word)
    except UsageError:
        return
    assert axis.values
    assert len(set(axis.values)) == len(axis.values)


@given(st.lists(PLAIN, min_size=1, unique=True))
def test_plain_values_come_back_as_they_were_typed(values):
    assert read_axis(f"model_args={','.join(values)}").values == tuple(values)


@given(st.lists(st.text().filter(is_text_of_yaml), min_size=1, unique=True))
def test_a_list_of_yaml_keeps_every_text(values):
    axis = read_axis(f"model_args={json.dumps(values, ensure_ascii=True)}" if values else "")
    assert len(axis.values) == len(values)


@given(VALUE.filter(lambda value: is_text_of_yaml(json.dumps(value, ensure_ascii=False))))
def test_a_value_out_of_a_file_is_what_set_reads_from_its_text(value):
    assert set_values(f"model_args={text_of(value)}", "--set") == {"model_args": value}


def test_points_are_all_combinations_the_last_axis_fastest():
    axes = (make_axis("nnodes", ("1", "2"), "x"), make_axis("runner", ("plain", "torchrun"), "x"))
    told = [tuple(text for _, text in point) for point in points(axes)]
    assert told == [("1", "plain"), ("1", "torchrun"), ("2", "plain"), ("2", "torchrun")]
    assert points(()) == [()]


def test_one_key_by_two_names_is_refused():
    axes = [read_axis("nnodes=1"), read_axis("multi_node_args.NNODES=2")]
    with pytest.raises(UsageError, match="found nnodes and multi_node_args.NNODES, which are one key"):
        check_axes(axes, "--sweep")


def test_a_key_that_no_context_has_is_told_with_the_nearest():
    assert "did you mean 'model_args'?" in key_problem("modle_args")
    assert "did you mean 'RUNNER'?" in key_problem("multi_node_args.RUNER")
    assert "did you mean 'nnodes'?" in key_problem("nnode")
    assert [key_problem(key) for key in ("model_args", "docker_env_vars.X", "slurm.time", NNODES)] == [""] * 4
