"""How a job has ended: the code of the command, and words where node 0 could not say it."""

import os
import pwd

import pytest

from madrun.backends.slurm.attempt import latest
from madrun.backends.slurm.states import JobState
from madrun.backends.slurm.verdict import judge

ME = pwd.getpwuid(os.getuid()).pw_name


def judged(folder, nodes=(), job="", state=None, log="", errors=""):
    """`nodes`: state files by rank; `job`: that of the job script."""
    if log:
        (folder / "job.log").write_text(log)
    if job or nodes:
        attempt = folder / "attempt-0"
        attempt.mkdir()
        (attempt / "job.state").write_text(job)
        for rank, text in enumerate(nodes):
            (attempt / f"node-{rank}.state").write_text(text)
            (attempt / f"node-{rank}.err").write_text(errors if rank else "")
    verdict = judge(folder, "7", latest(folder), state, 90)
    return int(verdict.code), verdict.text


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5])
def test_the_code_of_node_0_is_that_of_the_command(tmp_path, code):
    assert judged(tmp_path, [f"host=n1\ncode={code}\n"], state=JobState("FAILED")) == (code, "")


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (JobState("CANCELLED", by=str(os.getuid())), f"job 7 was cancelled by {ME}"),
        (JobState("CANCELLED", by="4294960000"), "job 7 was cancelled by the user of id 4294960000"),
        (JobState("CANCELLED"), "job 7 was cancelled"),
        (JobState("TIMEOUT"), "job 7 was ended by SLURM: it reached its time limit (slurm.time)"),
        (JobState("NODE_FAIL"), "job 7 was ended by SLURM: SLURM lost one of its nodes"),
        (JobState("OUT_OF_MEMORY"), "job 7 was ended by SLURM: it needed more memory than the job has (slurm.mem)"),
        (JobState("PREEMPTED"), "job 7 was ended by SLURM: a job of higher priority took its nodes"),
    ],
)
@pytest.mark.parametrize("node", ["host=n1\ncode=130\n", "host=n1\n"])
def test_what_slurm_ends_is_a_failed_run_with_the_reason(tmp_path, state, text, node):
    assert judged(tmp_path, [node], state=state) == (3, text)


def test_a_run_that_failed_because_its_job_was_cancelled_says_both(tmp_path):
    assert judged(tmp_path, ["code=3\n"], state=JobState("CANCELLED")) == (3, "job 7 was cancelled")


def test_a_run_that_ended_well_is_a_success_whatever_became_of_its_job(tmp_path):
    assert judged(tmp_path, ["code=0\n"], state=JobState("CANCELLED")) == (0, "")


@pytest.mark.parametrize(
    ("ran", "says"),
    [
        ("58:40 1:00:00", "was told to end 90 s before its time limit"),
        ("1-00:00:00 1-00:02:00", "was told to end 90 s before its time limit"),
        ("5:00 1:00:00", "was told to end from outside (SIGUSR2): preempted"),
        ("5:00 UNLIMITED", "was told to end from outside (SIGUSR2)"),
        ("", "was told to end from outside (SIGUSR2)"),
    ],
)
def test_a_warning_is_that_of_the_time_limit_or_of_a_preemption(tmp_path, ran, says):
    code, text = judged(tmp_path, ["code=130\n"], f"signal=USR2\nran={ran}\ncode=130\n", JobState("FAILED"))
    assert code == 3
    assert says in text


def test_the_node_that_failed_first_is_named_with_its_last_lines(tmp_path):
    nodes = ["host=n1\ncode=130\nended=9\n", "host=n2\ncode=127\nended=5\n", "host=n3\ncode=4\nended=7\n"]
    code, text = judged(tmp_path, nodes, state=JobState("FAILED"), errors="a\nsh: madrun: not found\n")
    assert code == 3
    assert text.startswith(
        "job 7: node 1 (n2) ended with code 127 before node 0 had ended\n  a\n  sh: madrun: not found"
    )
    assert text.endswith("attempt-0/node-1.err)")


def test_a_node_that_madrun_itself_refused_gives_its_code(tmp_path):
    code, _ = judged(tmp_path, ["code=130\nended=9\n", "code=4\nended=5\n"], state=JobState("FAILED"))
    assert code == 4


def test_a_madrun_that_was_killed_on_node_0_is_said_so(tmp_path):
    code, text = judged(tmp_path, ["host=n1\ncode=137\n"], state=JobState("FAILED"))
    assert (code, text) == (3, "job 7: madrun on node 0 (n1) ended with code 137")


def test_a_job_that_left_no_trace_points_at_the_shared_file_system(tmp_path):
    code, text = judged(tmp_path, state=JobState("FAILED", "NonZeroExitCode", "n[1-2]"))
    assert code == 3
    assert text.startswith(
        f"job 7 ended (FAILED, NonZeroExitCode) before its script could write into {tmp_path} on n[1-2]"
    )
    assert "the results (--results) have to lie on a file system" in text


def test_a_state_of_slurm_that_is_not_its_last_word_is_not_told_as_the_end(tmp_path):
    text = judged(tmp_path, job="host=n1\ncode=1\n", state=JobState("RUNNING"), log="srun: error: no\n")[1]
    assert text.startswith("job 7 ended before node 0 said how\n  srun: error: no\n")


def test_a_job_whose_step_did_not_begin_shows_what_slurm_said(tmp_path):
    code, text = judged(tmp_path, job="host=n1\ncode=2\n", state=JobState("FAILED"), log="srun: error: no\n")
    assert code == 3
    assert text.startswith("job 7 ended before node 0 said how (FAILED)\n  srun: error: no\n")


def test_what_madrun_was_asked_to_cancel_is_interrupted(tmp_path):
    (tmp_path / "cancelled").touch()
    assert judged(tmp_path, ["code=130\n"], state=JobState("CANCELLED")) == (130, "job 7 was cancelled by madrun")
