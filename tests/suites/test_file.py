"""A suite file is strict: what is wrong is told with file, line and the nearest word."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.errors import UsageError
from madrun.suites.expand import contents_of
from madrun.suites.file import read_suite

WHOLE = """name: nightly
defaults:
  runtime: process
  docker_env_vars: {NCCL_DEBUG: INFO}
cases:
  - tags: llama
    args: --steps 3
    sweep:
      nnodes: [1, 2]
      model_args: ["--bs 1", "--bs 2"]
  - name: long one
    tags: [a, b]
    context: {stall_timeout: 5m}
    nnodes: 4
    repeat: 3
    timeout: 2h
    env: [HF_TOKEN, MODE=fast]
"""


@pytest.fixture
def contents(tmp_path):
    """Gives the cases of a suite file with this text."""

    def read(text, common=(), lenient=False):
        file = tmp_path / "suite.yaml"
        file.write_text(text)
        found, wrong = contents_of(read_suite(file), common, lenient)
        if wrong:
            raise UsageError("\n".join(map(str, wrong)))
        return found

    return read


def told(contents, text, **more):
    with pytest.raises(UsageError) as caught:
        contents(text, **more)
    return str(caught.value)


def test_a_case_is_made_of_the_defaults_the_entry_and_each_point_of_its_sweep(contents):
    found = contents(WHOLE)
    assert [one.name for one in found] == [
        "llama nnodes=1 model_args=--bs 1",
        "llama nnodes=1 model_args=--bs 2",
        "llama nnodes=2 model_args=--bs 1",
        "llama nnodes=2 model_args=--bs 2",
        "long one",
    ]
    first, last = found[0], found[-1]
    assert first.sets == ("runtime=process", 'docker_env_vars={"NCCL_DEBUG": "INFO"}', "model_args=--bs 1")
    assert (first.nnodes, first.tags, first.args) == (1, ("llama",), ("--steps 3",))
    assert (last.nnodes, last.repeat, last.timeout, last.tags) == (4, 3, "2h", ("a", "b"))
    assert last.sets[2:] == ("stall_timeout=5m",)
    assert last.env == ("HF_TOKEN", "MODE=fast")


def test_words_of_the_command_stand_between_the_defaults_and_the_case(contents):
    found = contents("defaults: {grace: 1}\ncases: [{tags: a, context: {grace: 3}}]", common=("grace=2",))
    assert found[0].sets == ("grace=1", "grace=2", "grace=3")


def test_the_number_of_nodes_may_stand_in_the_defaults_the_context_or_the_case(contents):
    found = contents("defaults: {nnodes: 2}\ncases: [{tags: a}, {tags: a, nnodes: 3}, {tags: a, context: {nnodes: 4}}]")
    assert [one.nnodes for one in found] == [2, 3, 4]


def test_equal_cases_are_told_apart_by_a_number(contents):
    assert [one.name for one in contents("cases: [{tags: a}, {tags: a}, {tags: b}]")] == ["a", "a #2", "b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cases: [{tags: a, nnode: 2}]", "suite.yaml:1: cases.0.nnode: unknown key (did you mean 'nnodes'?)"),
        (
            "cases:\n- tags: a\n- tags: b\n  repeat: 0",
            "suite.yaml:4: cases.1.repeat: found 0 (int), allowed: a number >= 1",
        ),
        ("case: []", "suite.yaml:1: case: unknown key (did you mean 'cases'?)"),
        ("cases: []", "cases: found none"),
        ("name: x", "cases: is missing"),
        ("- a", "suite.yaml:1: found list, allowed: a map"),
        ("cases: [{tags: [a}", "not YAML"),
        ("cases:\n- tags: a\n  context: {timeouts: 3}", "suite.yaml:3: cases.0.context.timeouts: unknown key timeouts"),
        ("defaults: {modelargs: x}\ncases: [{tags: a}]", "defaults.modelargs: unknown key modelargs (did you mean"),
        ("cases: [{tags: a, sweep: {model_arg: [x]}}]", "sweep.model_arg: unknown key model_arg (did you mean"),
        ("cases: [{tags: a, sweep: {model_args: []}}]", "sweep.model_args: found no values"),
        ("cases: [{tags: a, sweep: {model_args: [x, null]}}]", "sweep.model_args: found null"),
        ("cases: [{tags: a, nnodes: 2, sweep: {nnodes: [1]}}]", "sweep.nnodes: found nnodes here and in the case"),
        ("cases: [{tags: a, sweep: {nnodes: [1], multi_node_args.NNODES: [2]}}]", "which are one key"),
        ("cases: [{tags: a, context: {timeout: null}}]", "context.timeout: found null"),
        ("cases:\n- {name: x, tags: a}\n- {name: x, tags: b}", "suite.yaml:3: cases.1.name: found 'x' again, first in"),
        ("cases: [{tags: a, context: {docker_env_vars: {HF_TOKEN: abc}}}]", "found a value of HF_TOKEN"),
        ("cases: [{tags: a, env: [HF_TOKEN=abc]}]", "found a value of HF_TOKEN"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(contents, text, words):
    assert words in told(contents, text)
    assert "abc" not in told(contents, text)


def test_every_wrong_place_is_told_at_once(contents):
    said = told(contents, "names: x\ncases: [{tag: a}, {tags: b, repeats: 2}]")
    assert all(word in said for word in ("names: unknown", "cases.0.tag: unknown", "cases.1.repeats: unknown"))
    said = told(
        contents,
        "cases:\n- {tags: a, env: [A_KEY=b]}\n- {name: x, tags: a, context: {graze: 3}}\n- {name: x, tags: a}\n",
    ).splitlines()
    assert [": ".join(line.partition("suite.yaml:")[2].split(": ")[:2]) for line in said] == [
        "2: cases.0.env",
        "3: cases.1.context.graze",
        "4: cases.2.name",
    ]


def test_a_card_of_mad_may_know_keys_that_madrun_does_not(contents):
    assert contents("cases: [{tags: a, sweep: {guest_os_x: [U, C]}}]", lenient=True)[1].sets == ("guest_os_x=C",)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(
        UsageError, match="does not exist or is not a file; allowed: a suite file, or the id of a suite"
    ):
        read_suite(tmp_path / "none.yaml")


NODE = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "nnodes", "--x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "cases", "tags", "sweep", "context", "nnodes", "defaults", "env", "grace"]), inner
        )
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(NODE)
def test_any_yaml_is_a_suite_or_an_error_with_the_file(tmp_path_factory, node):
    file = tmp_path_factory.mktemp("suite") / "suite.yaml"
    file.write_text(yaml.safe_dump(node))
    try:
        found, wrong = contents_of(read_suite(file), (), False)
    except UsageError as error:
        assert str(error).startswith(str(file))
        return
    assert all(str(error).startswith(str(file)) for error in wrong)
    assert len({one.name for one in found}) == len(found)
