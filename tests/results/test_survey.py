"""Runs are found by what people type, and unfinished directories are read as far as they go."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.errors import UsageError
from madrun.results.survey import find, is_run, look, node_folders
from madrun.spec.codec import to_json

IDS = ("20261120T000000Z-one-abcdef-1", "20261121T000000Z-one-abcdef-1", "20261121T000000Z-two-abcdef-1")


@pytest.fixture
def results(tmp_path):
    """A results directory with three runs."""
    for name in IDS:
        (tmp_path / "results/runs" / name / "node-0").mkdir(parents=True)
    return tmp_path / "results"


@pytest.mark.parametrize(
    ("word", "found"),
    [(IDS[1], IDS[1]), ("20261120", IDS[0]), ("20261121T000000Z-t", IDS[2]), ("last", IDS[2])],
)
def test_a_run_is_found_by_its_id_the_beginning_of_it_or_as_the_last(results, word, found):
    assert find(word, results, {}).name == found


def test_a_run_is_found_by_its_directory_from_anywhere(results, tmp_path, monkeypatch):
    monkeypatch.chdir(results / "runs" / IDS[0])
    assert find(".", tmp_path / "none", {}).name == IDS[0]
    assert find(str(results / "runs" / IDS[2]), tmp_path / "none", {}).name == IDS[2]


def test_a_run_of_other_results_that_lives_here_is_found_and_those_of_results_count_first(results, tmp_path):
    other = tmp_path / "elsewhere" / "20261122T000000Z-x-abcdef-1"
    assert find("20261122", results, {other.name: other}) == other
    assert find("last", results, {other.name: other}).name == IDS[2]
    assert find("last", tmp_path / "none", {other.name: other}) == other


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("", "found ''"),
        ("2026112", "is the beginning of 3 runs"),
        ("20261121T000000Z-tow-abcdef-1", f"the nearest: {IDS[2]}"),
        ("zzz", f"the newest: {', '.join(IDS)}"),
        ("/tmp", "/tmp is no run"),
    ],
)
def test_what_means_no_run_or_several_is_refused_with_those_that_are_near(results, word, said):
    with pytest.raises(UsageError, match="RUN") as refused:
        find(word, results, {})
    assert said in str(refused.value)


@pytest.mark.parametrize("word", ["last", "x"])
def test_without_any_run_the_directory_is_named(tmp_path, word):
    with pytest.raises(UsageError, match="holds no run"):
        find(word, tmp_path, {})


def test_a_run_directory_says_its_phases_nodes_and_what_was_last_heard(results, make_test_plan):
    run = results / "runs" / IDS[0]
    (run / "plan.json").write_text(to_json(make_test_plan()))
    events = [
        {"at": 5.0, "event": "begin", "command": ["madrun", "run"]},
        {"at": 6.5, "event": "phase", "name": "image"},
    ]
    (run / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + '{"at": 7, "ev')
    (run / "status.json").write_text(json.dumps({"nodes": {"0": {"phase": "image"}, "x": 1}}))
    (run / "node-10").mkdir()
    (run / "node-x").mkdir()
    seen = look(run)
    assert (seen.card, seen.runtime, seen.nnodes, seen.hosts) == ("one", "process", 1, {0: "alpha"})
    assert (seen.phases, seen.command) == ((("", 5.0), ("image", 6.5)), ("madrun", "run"))
    assert (seen.status, seen.record, seen.ended) == ({0: {"phase": "image"}}, None, None)
    assert seen.heard_at is not None
    assert [rank for rank, _ in node_folders(run)] == [0, 10]


def test_what_another_node_heard_of_the_end_is_read(results):
    run = results / "runs" / IDS[0]
    (run / "node-0").rename(run / "node-1")
    (run / "node-1/ended.json").write_text('{"exit_code": 3, "reasons": ["why"]}')
    seen = look(run)
    assert (seen.ended, seen.is_node_0s) == ({"exit_code": 3, "reasons": ["why"]}, False)


def test_a_directory_of_something_else_is_no_run(tmp_path):
    assert not is_run(tmp_path)
    assert not is_run(tmp_path / "none")


@given(st.binary(max_size=80), st.sampled_from(["plan.json", "journal.jsonl", "status.json", "node-1/ended.json"]))
def test_no_bytes_in_any_file_make_a_look_fail(tmp_path_factory, data, name):
    run = tmp_path_factory.mktemp("run")
    (run / "node-1").mkdir()
    (run / name).write_bytes(data)
    assert look(run).run_id == run.name


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(("job", "nodes", "nnodes", "node_rank", "container", "mirrors", "data_sources")), inner
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(("job", "nodes")), values))
def test_no_plan_whatever_it_holds_makes_a_look_fail(tmp_path_factory, plan):
    run = tmp_path_factory.mktemp("run")
    (run / "plan.json").write_text(json.dumps(plan))
    assert look(run).nnodes >= 0
