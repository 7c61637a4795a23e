"""One entry of models.json as a card."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.registry.mad.entry import FIELDS, card_of, check_text
from madrun.registry.mad.fields import Wrong
from madrun.spec.mad import LogErrors

ENTRY = {"name": "m", "dockerfile": "docker/m", "scripts": "scripts/m/run.sh", "n_gpus": "-1", "args": "--x 1"}
REPOSITORY = Path("/r")


def card(scope="", **changes):
    file = REPOSITORY / "scripts" / scope / "models.json" if scope else REPOSITORY / "models.json"
    return card_of(
        {key: value for key, value in {**ENTRY, **changes}.items() if value is not ...}, file, REPOSITORY, scope
    )


def problem(**changes):
    with pytest.raises(Wrong) as caught:
        card(**changes)
    return f"{caught.value.key}: {caught.value}"


def test_every_field_arrives_where_its_meaning_is():
    one = card(
        n_gpus="4",
        tags=["a", "b"],
        owner="me@there",
        training_precision="fp16",
        url="https://host/x.git",
        data="imagenet, coco",
        cred="KEY",
        multiple_results="perf.csv",
        timeout=60,
        dockercontext="./docker/sub",
        skip_gpu_arch="gfx90a, A100",
        additional_docker_run_options="-v ${HOME}:/h",
        is_deprecated=True,
        distributed={"launcher": "torchrun", "nnodes": 2},
        slurm={"partition": "p"},
        env_vars={"DOCKER_IMAGE_NAME": "i:1", "N": 8},
        log_error_pattern_scan=False,
        log_error_benign_patterns=["fine, so"],
        log_error_patterns=["Bad:"],
        nnodes="2",
    )
    assert (one.name, one.folder, one.script, one.args) == ("m", "/r/scripts/m", "run.sh", "--x 1")
    assert (one.tags, one.data, one.gpus_per_node) == (("a", "b"), ("imagenet", "coco"), 4)
    assert (one.timeout_s, one.multiple_results, one.training_precision) == (60.0, "perf.csv", "fp16")
    mad = one.mad
    assert (mad.short, mad.dockerfile, mad.context, mad.n_gpus) == ("m", "docker/m", "./docker/sub", "4")
    assert (mad.url, mad.cred, mad.owner) == ("https://host/x.git", "KEY", "me@there")
    assert (mad.skip_gpu_arch, mad.docker_options) == (("gfx90a", "A100"), "-v ${HOME}:/h")
    assert (mad.is_deprecated, mad.nnodes) == (True, 2)
    assert (mad.distributed, mad.slurm) == ({"launcher": "torchrun", "nnodes": 2}, {"partition": "p"})
    assert mad.env_vars == {"DOCKER_IMAGE_NAME": "i:1", "N": "8"}
    assert mad.log_errors == LogErrors(scan=False, patterns=("Bad:",), benign=("fine, so",))
    assert one.warnings == ()


def test_what_a_card_leaves_out_has_the_defaults_of_the_format():
    one = card(n_gpus=..., args=...)
    assert (one.args, one.gpus_per_node, one.timeout_s, one.multiple_results) == ("", None, None, None)
    assert one.mad.n_gpus == "-1"
    assert one.mad.log_errors == LogErrors()


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_field_is_the_same_as_none_at_all(empty):
    given = {key: empty for key in FIELDS - set(ENTRY)}
    assert card(**given, args=empty, n_gpus=empty) == card(args=..., n_gpus=...)


@pytest.mark.parametrize(
    ("scope", "scripts", "folder", "script"),
    [
        ("", "scripts/m/run.sh", "/r/scripts/m", "run.sh"),
        ("", "scripts/m/bench.py", "/r/scripts/m", "bench.py"),
        ("", "scripts/m/job.slurm", "/r/scripts/m", "job.slurm"),
        ("", "scripts/m", "/r/scripts/m", "run.sh"),
        ("", "scripts/llama-3.1", "/r/scripts/llama-3.1", "run.sh"),
        ("", "run.sh", "/r", "run.sh"),
        ("d", "run.sh", "/r/scripts/d", "run.sh"),
        ("d", "../e/run.sh", "/r/scripts/e", "run.sh"),
        ("d/e", "./sub", "/r/scripts/d/e/sub", "run.sh"),
    ],
)
def test_a_script_is_a_file_by_its_ending_else_a_folder_with_run_sh(scope, scripts, folder, script):
    one = card(scope=scope, scripts=scripts)
    assert (one.folder, one.script) == (folder, script)


def test_a_nested_card_has_its_folder_in_its_name_and_paths_relative_to_its_file():
    one = card(scope="d", dockerfile="../../docker/x", scripts="run.sh", dockercontext="./docker", tags="t")
    assert (one.name, one.mad.short, one.tags) == ("d/m", "m", ("t",))
    assert (one.mad.dockerfile, one.mad.context) == ("docker/x", "./docker")


@pytest.mark.parametrize(
    ("written", "count"), [("-1", None), (-1, None), (8, 8), ("8", 8), (" 4 ", 4), (2.0, 2), ("", None)]
)
def test_a_number_of_gpus_may_be_text_and_minus_one_is_all(written, count):
    assert card(n_gpus=written).gpus_per_node == count


@pytest.mark.parametrize(
    ("written", "limit"), [(-1, 0.0), (0, 0.0), ("-1", 0.0), (7200, 7200.0), ("3600", 3600.0), (1.5, 1.5), (None, None)]
)
def test_a_time_limit_of_zero_or_less_is_none(written, limit):
    assert card(timeout=written).timeout_s == limit


@pytest.mark.parametrize("written", [["a", "b"], "a,b", " a , b ", ["a", " b", ""]])
def test_tags_are_a_list_or_a_text_with_commas(written):
    assert card(tags=written).tags == ("a", "b")


@pytest.mark.parametrize(("written", "meant"), [(True, True), ("true", True), ("False", False), (1, True), (0, False)])
def test_a_flag_may_be_text_or_a_number(written, meant):
    assert card(is_deprecated=written).mad.is_deprecated is meant


WRONG = {
    "name": [..., "", 5.5, "a/b", "a:b", "a b", "../x", "é", ["a"]],
    "dockerfile": [..., ["d"], "/etc/d", "../../x", True],
    "scripts": [..., "", " ", "/bin/x.sh", "../x.sh", ".", {"a": 1}],
    "n_gpus": ["many", 0, -2, 1.5, True, [1]],
    "args": [["--x"], {"x": 1}, True, "a\0b"],
    "tags": [5, {"a": 1}, [["a"]], True],
    "timeout": ["2h", True, [], float("nan"), float("inf"), {}],
    "multiple_results": ["out/perf.csv", "..", ["a.csv"]],
    "is_deprecated": ["maybe", [], 2, 1.0],
    "distributed": ["torchrun", [1], True],
    "slurm": [["p"], 3],
    "env_vars": [["A=1"], "A=1"],
    "nnodes": [0, "two", -1, [2]],
    "log_error_pattern_scan": ["perhaps"],
    "log_error_patterns": ["Bad:", [1]],
    "log_error_benign_patterns": [{"a": 1}],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_wrong_value_is_named_with_what_was_found_and_what_is_allowed(key, value):
    if (key, value) == ("name", 5.5):
        assert card(name=value).name == "5.5"
        return
    text = problem(**{key: value})
    assert text.startswith(f"{key}: found ") or (value is ... and "is missing and has no default" in text)
    assert "allowed: " in text


def test_true_and_false_as_variables_are_refused_by_their_own_name():
    assert problem(env_vars={"A": True}).startswith("env_vars.A: found True (bool), allowed: text or a number")


def test_what_is_no_object_is_refused():
    with pytest.raises(Wrong) as caught:
        card_of(["m"], REPOSITORY / "models.json", REPOSITORY, "")
    assert "allowed: an object with name" in str(caught.value)


def test_an_unknown_field_is_a_warning_with_the_nearest_known_one():
    assert card(tag="x").warnings == ("tag: unknown field (did you mean 'tags'?), which has no effect",)
    assert card(zzzzzzz=1).warnings == ("zzzzzzz: unknown field, which has no effect",)


def test_a_tag_that_cannot_be_typed_is_a_warning():
    (text,) = card(tags=["fine", "a:b"]).warnings
    assert "'a:b' cannot be selected" in text


def test_a_card_without_a_dockerfile_needs_a_ready_image():
    assert "only with MAD_CONTAINER_IMAGE" in card(dockerfile="").warnings[0]
    assert card(dockerfile="", env_vars={"DOCKER_IMAGE_NAME": "i"}).warnings == ()
    assert card(dockerfile="").mad.dockerfile == ""


@pytest.mark.parametrize("args", ["--x 'a b' \"$HOME\"; echo ü\n--y \\", "  spaces  "])
def test_arguments_stay_byte_for_byte(args):
    assert card(args=args).args == args


@pytest.mark.parametrize("value", ["a\0b", "\ud800", ["x", {"y": "\udfff"}]])
def test_text_that_no_process_can_be_given_is_refused(value):
    with pytest.raises(Wrong):
        check_text({"owner": value})
    check_text({"owner": "ü \U0001f600 \\u0041"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(max_size=5), json_values), st.sampled_from(["", "d/e"])
)
def test_any_entry_is_a_card_or_says_which_field_is_wrong(entry, scope):
    try:
        one = card_of({**ENTRY, **entry}, REPOSITORY / "models.json", REPOSITORY, scope)
    except Wrong as wrong:
        assert wrong.key.partition(".")[0] in FIELDS
        assert "allowed: " in str(wrong)
        return
    assert one.folder.startswith("/r")
    assert "/../" not in f"{one.folder}/{one.mad.dockerfile}/"
    assert all(isinstance(tag, str) for tag in one.tags)
    json.dumps(one.mad.env_vars)
