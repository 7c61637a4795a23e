"""A suite as a job: what the job is asked for is read back from the words of its cases."""

import pytest
from suite_parts import suite

from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.suitejob import asked_of_words, taken_from_here, wants_job
from madrun.cli.words import words_of
from madrun.suites.suite import Case, Suite

WORDS = ["--tags", "a", "--tags", "b:c=1", "--env", "X", "--arg", "--bs 1", "--set", "model_args=--x '1'"]


def test_words_of_a_case_are_read_as_the_command_line_reads_them():
    more = ["--pull", "--output", "x.csv", "--on", "slurm", "--exclusive", "--nodes", "3", "--quiet"]
    asked = asked_of_words([*WORDS, *more])
    assert words_of(asked.options, ("results",)) == WORDS
    assert words_of(asked.launch) == ["--on", "slurm", "--nodes", "3", "--exclusive"]
    assert (asked.repository.pull, asked.files.output, asked.show.quiet) == (True, "x.csv", True)
    assert asked_of_words(["--tags", "a"]).launch == LaunchOptions()


@pytest.mark.parametrize(
    ("backend", "env", "wanted"),
    [
        ("slurm", {}, True),
        ("slurm", {"SLURM_JOB_ID": "7"}, True),
        ("slurm", {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1"}, False),
        ("ssh", {}, False),
        ("", {}, False),
    ],
)
def test_only_slurm_outside_of_a_job_wants_one(backend, env, wanted):
    assert wants_job(suite("a", backend=backend), env) is wanted


def test_the_job_gets_the_variables_of_all_cases():
    cases = (
        Case(name="a", words=("--tags", "a", "--env", "X")),
        Case(name="b", words=("--tags", "b", "--env", "X", "--env", "Y", "--env", "MODE=z")),
    )
    made: Suite = suite("a")
    assert taken_from_here(Suite(**{**{name: getattr(made, name) for name in made.__slots__}, "cases": cases})) == [
        "--env",
        "Y",
    ]
