"""What node 0 asks of all nodes: the first difference is named with both values."""

import pytest

from madrun.node.joining.judges import JUDGES, of_master, same_images, same_jobs

SUMMARY = {"card": "one", "args": "--x 1", "runner": "torchrun"}


def payload(host="alpha", version="0.1", jobs=None):
    return {"hostname": host, "madrun": version, "jobs": jobs or [{"hash": "h", "summary": SUMMARY}]}


def job(hashed, **changes):
    return {"hash": hashed, "summary": SUMMARY | changes}


def test_equal_jobs_pass():
    assert same_jobs({0: payload(), 1: payload("beta")}).failure is None


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        (payload("beta", "0.2"), ["madrun version", "0.1 on node 0", "0.2 on node 1 (beta)"]),
        (payload("beta", jobs=[job("h"), job("i")]), ["number of runs (cards x --repeat) differs: 1", "2 on node 1"]),
        (payload("beta", jobs=[job("i", args="--x 2")]), ["args differs", "--x 1 on node 0", "--x 2 on node 1 (beta)"]),
        (payload("beta", jobs=[job("i")]), ["the job differs on node 1 (beta)"]),
    ],
)
def test_a_difference_ends_the_run_and_is_named_with_both_values(other, parts):
    failure = same_jobs({0: payload(), 1: other}).failure
    assert (failure.kind, failure.node) == ("gate", 1)
    assert [part for part in parts if part not in failure.text] == []


def test_the_second_of_several_jobs_is_compared_too():
    first, second = [job("h"), job("i")], [job("h"), job("j", runner="plain")]
    failure = same_jobs({0: payload(jobs=first), 1: payload("beta", jobs=second)}).failure
    assert "runner differs: torchrun on node 0, plain on node 1" in failure.text


def test_what_follows_from_another_runner_is_not_a_difference_of_its_own():
    other = payload("beta", jobs=[job("i", runner="mpirun", mpi_launch="agent")])
    text = same_jobs({0: payload(jobs=[job("h", mpi_launch="")]), 1: other}).failure.text
    assert text == "runner differs: torchrun on node 0, mpirun on node 1 (beta)"
    ssh = payload("beta", jobs=[job("i", mpi_launch="ssh")])
    text = same_jobs({0: payload(jobs=[job("h", mpi_launch="agent")]), 1: ssh}).failure.text
    assert text == "mpi_launch differs: agent on node 0, ssh on node 1 (beta)"


def test_many_differences_are_cut_to_three():
    summaries = [{f"k{index}": value for index in range(6)} for value in "ab"]
    jobs = [[{"hash": str(index), "summary": summary}] for index, summary in enumerate(summaries)]
    failure = same_jobs({0: payload(jobs=jobs[0]), 1: payload("beta", jobs=jobs[1])}).failure
    assert failure.text.count("differs") == 3


def test_images_must_be_the_same():
    nodes = {0: {"image": "sha256:a", "hostname": "alpha"}, 1: {"image": "sha256:b", "hostname": "beta"}}
    failure = same_images(nodes).failure
    assert "image identity differs: sha256:a on node 0, sha256:b on node 1 (beta)" in failure.text
    assert same_images({0: nodes[0], 1: nodes[0]}).failure is None


def test_nodes_that_cloned_different_commits_are_refused():
    nodes = {rank: {"image": "same", "hostname": f"h{rank}", "commit": "ab" * (rank + 1)} for rank in range(2)}
    assert "commit of url differs: ab on node 0, abab on node 1 (h1)" in same_images(nodes).failure.text


def test_what_node_0_says_is_what_all_get():
    assert of_master({1: "b", 0: "a"}).data == "a"
    assert of_master({1: "b"}).data is None


def test_every_stage_with_a_question_has_its_judge():
    assert JUDGES["jobs"] is same_jobs
    assert JUDGES["prepared"] is same_images
    assert JUDGES["begin"] is JUDGES["end"] is of_master
