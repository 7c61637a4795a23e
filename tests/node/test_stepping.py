"""What is made of the steps around a script."""

import pytest

from madrun.node.stepping import failed_after, failed_before, hinted, seconds, with_steps
from madrun.node.steps import Step, parse_step
from madrun.node.timings import Timings
from madrun.spec.record import Failure, NodeOutcome


@pytest.fixture
def job(make_job):
    return make_job(run_directory="run_directory", steps={"pre.1": "x/a.sh", "pre.2": "x/b.sh", "post.1": "x/c.sh"})


def seen(*lines):
    steps = [parse_step(line) for line in lines]
    return {step.name: step for step in steps}


def test_the_pre_script_that_failed_is_named(job):
    steps = seen("1 pre.1", "2 pre.1.exit 0", "2 pre.2", "3 pre.2.exit 7")
    assert failed_before(job, steps) == "the pre-script x/b.sh ended with exit code 7"
    assert failed_after(job, steps) == []


def test_one_that_took_too_long_says_so_and_one_that_ends_with_that_code_does_not(job):
    assert failed_before(job, seen("1 pre.1", "602 pre.1.exit 124")) == "the pre-script x/a.sh took longer than 10m00s"
    assert failed_before(job, seen("1 pre.1", "3 pre.1.exit 124")).endswith("ended with exit code 124")


def test_a_post_script_that_failed_is_a_finding_and_the_scripts_time_is_its_own(job):
    steps = seen(
        "1 pre.1",
        "8 pre.1.exit 0",
        "8 pre.2",
        "9 pre.2.exit 0",
        "10 script",
        "12.5 script.exit 0",
        "13 post.1",
        "20 post.1.exit 3",
    )
    times = Timings()
    outcome = with_steps(NodeOutcome(node=0, hostname="h", script_s=30.0), job, steps, times)
    assert outcome.findings == ("the post-script x/c.sh ended with exit code 3",)
    assert outcome.script_s == 2.5
    assert times.seconds == {"pre_scripts": 8.0, "post_scripts": 7.0}
    assert seconds(job, steps) == {"pre_scripts": 8.0, "post_scripts": 7.0, "script": 2.5}


def test_without_a_clock_in_the_container_the_agents_time_counts(job):
    steps = {"script": Step(0.0, "script"), "script.exit": Step(0.0, "script.exit", "0")}
    assert with_steps(NodeOutcome(node=0, hostname="h", script_s=30.0), job, steps, Timings()).script_s == 30.0


def test_a_native_job_has_no_steps(make_job):
    outcome = NodeOutcome(node=0, hostname="h", script_s=3.0)
    assert with_steps(outcome, make_job(), seen("1 begin", "2 exit 0"), Timings()) == outcome


def test_a_read_only_checkout_is_explained_for_mad_cards_alone(job, make_job):
    failure = Failure(kind="script error", text="it failed", node=0, last_lines=("x: Read-only file system", "end"))
    assert "{'checkout': 'copy'}" in hinted(failure, job).text
    assert hinted(failure, make_job()) == failure
    assert hinted(None, job) is None
