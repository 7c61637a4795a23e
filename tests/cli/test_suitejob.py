"""A suite as a job: what the job is asked for is read back from the words of its cases."""

from dataclasses import replace

import pytest
from suite_parts import suite

from madrun.backends.state import LaunchState
from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.suitearray import ends_of, submit_array
from madrun.cli.suitejob import asked_of_words, check_alike, run_as_job, taken_from_here, wants_job
from madrun.cli.words import words_of
from madrun.errors import ContextError, UsageError
from madrun.suites.folder import Journal, SuiteFolder
from madrun.suites.progress import Attempt
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


def of_slurm(*sets):
    """A suite of slurm, a case for each tuple of settings."""
    cases = [
        Case(name=str(number), words=("--tags", "a", *(word for text in texts for word in ("--set", text))))
        for number, texts in enumerate(sets)
    ]
    return suite(backend="slurm", results="/none", cases=tuple(cases))


def test_cases_that_share_a_job_cannot_ask_for_different_ones():
    check_alike(of_slurm(("slurm.time=30", "slurm.cpus_per_task=1"), ("slurm.time=30", "slurm.cpus_per_task=2")))
    found = r"found slurm.gpus_per_node=8 in '2' and not in all cases, which share one job; allowed: the same for all"
    with pytest.raises(UsageError, match=found):
        check_alike(of_slurm((), ("slurm.image=x",), ("slurm.gpus_per_node=8",)))
    with pytest.raises(UsageError, match=r"found slurm.time=1 in '0'"):
        run_as_job(of_slurm(("slurm.time=1",), ()), (), False)


def test_tasks_of_one_array_cannot_ask_for_different_jobs(tmp_path, monkeypatch, write_card, repository):
    write_card("a")
    monkeypatch.chdir(repository)
    made = replace(of_slurm(("slurm.time=1h",), ("slurm.time=2h",)), cwd=str(repository), results=str(tmp_path))
    made = replace(made, cases=tuple(replace(case, nnodes=1) for case in made.cases))
    folder = SuiteFolder(tmp_path / "suites/x")
    folder.write(made)
    progress = folder.progress(made)
    with pytest.raises(ContextError, match=r"--array: found other settings of slurm in '1' than in '0'"):
        submit_array(folder, made, progress, Journal(folder, progress))
    assert not (tmp_path / "launches").exists()


def test_a_task_of_which_slurm_says_nothing_now_has_not_ended(tmp_path, monkeypatch):
    made = replace(of_slurm(()), results=str(tmp_path))
    attempt = Attempt(number=1, launch="L")
    (tmp_path / "launches/L").mkdir(parents=True)
    (tmp_path / "launches/L/private.env").touch()
    said = [LaunchState(phase="lost", reason="the controller does not answer"), LaunchState(phase="ended", exit_code=3)]
    monkeypatch.setattr("madrun.backends.slurm.backend.state", lambda _: said.pop(0))
    assert ends_of(made, [("0", attempt)]) == {}
    assert (tmp_path / "launches/L/private.env").exists()
    assert ends_of(made, [("0", attempt)]) == {"0": 3}
    assert not (tmp_path / "launches/L/private.env").exists()
