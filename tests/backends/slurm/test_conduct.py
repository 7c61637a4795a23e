"""A launch from its folder to its end, by commands of SLURM that stand in."""

import signal
import threading
import time

import pytest

from madrun.backends.slurm import backend, follow, inside
from madrun.backends.state import Which
from madrun.errors import ContextError, NodesError, UsageError

from .conftest import events

pytestmark = pytest.mark.slow
INSIDE = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "h[0-1]", "SLURM_JOB_NUM_NODES": "2"}
_RUNNING = "echo 'RUNNING|None|h[0-1]|N/A'"
SLEEPS = "trap 'echo told; exit 130' TERM; echo begun; i=0; while [ $((i += 1)) -lt 600 ]; do sleep 0.05; done"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(follow, "_FILES_S", 0.3)
    monkeypatch.setattr(follow, "_ASK_S", 0.1)
    monkeypatch.setattr(follow, "_LEAVE_S", 60.0)
    for module in (follow, inside):
        monkeypatch.setattr(module, "TICK_S", 0.05)


def interrupt_later(head, condition):
    """A signal to the command once something holds."""

    def wait():
        while not condition():
            time.sleep(0.02)
        head.interrupt()

    threading.Thread(target=wait, daemon=True).start()


def interrupt_at(head, word):
    """A signal to the command as soon as it has said this."""
    say = head.say

    def and_then(text):
        say(text)
        if text.startswith(word):
            head.interrupt()

    head.say = and_then


def test_all_nodes_run_the_nodes_script_and_node_0_is_shown(folder, slurm, head, madrun, monkeypatch):
    monkeypatch.setattr(follow, "_FILES_S", 60.0)
    slurm.runs_jobs()
    slurm.answers("squeue", _RUNNING, "echo 'COMPLETED|None|h[0-1]|N/A'")
    madrun('echo "rank $MADRUN_NODE_RANK at $MADRUN_MASTER_ADDR: $MADRUN_SECRET"; echo low >&2')
    made = folder()
    assert backend.conduct(made, head, False) == 0
    assert (head.shown, head.told) == (b"rank 0 at 10.0.0.1: s3cret\n", b"low\n")
    assert (made.path / "attempt-0/node-1.out").read_text() == "rank 1 at 10.0.0.1: s3cret\n"
    assert head.said == ["submitted as job 7", "job 7 runs on h[0-1]"]
    assert events(made) == ["submitted", "running", "ended"]
    assert not (made.path / "private.env").exists()


def test_a_node_that_fails_waits_for_what_the_others_bring_home_and_fails_the_job_and_the_command(
    folder, slurm, head, madrun
):
    slurm.runs_jobs()
    madrun('[ "$MADRUN_NODE_RANK" = 1 ] || { sleep 0.4; echo home; }; exit 3')
    made = folder()
    assert backend.conduct(made, head, False) == 3
    assert head.shown == b"home\n"
    assert "code=3" in (made.path / "attempt-0/job.state").read_text()
    assert backend.state(made).exit_code == 3


def test_ctrl_c_ends_what_runs_in_order_and_cancels_the_job(folder, slurm, head, madrun):
    slurm.runs_jobs()
    slurm.answers("squeue", *["echo 'RUNNING|None|h0|N/A'"] * 3, "echo 'CANCELLED|None|h0|N/A'")
    madrun(SLEEPS)
    made = folder()
    interrupt_later(head, lambda: b"begun" in head.shown)
    assert backend.conduct(made, head, False) == 130
    assert any("scancel --batch --signal=USR2 7" in call for call in slurm.calls)
    assert "cancelling job 7; waiting for its end (Ctrl-C again leaves at once)" in head.said
    for rank in (0, 1):
        wait_for(lambda rank=rank: "code=130" in (made.path / f"attempt-0/node-{rank}.state").read_text())
        assert (made.path / f"attempt-0/node-{rank}.out").read_text() == "begun\ntold\n"


def test_ctrl_c_cancels_a_job_that_has_not_begun(folder, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 7")
    slurm.answers("squeue", "echo 'PENDING|Priority||N/A'", "echo 'CANCELLED|None||N/A'")
    interrupt_later(head, lambda: len(head.said) > 1)
    assert backend.conduct(folder(), head, False) == 130
    assert "scancel 7" in slurm.calls
    assert head.said[1] == "job 7 waits: Priority: jobs of higher priority are before it"


def test_a_second_ctrl_c_leaves_at_once_and_says_the_job(folder, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 7")
    slurm.answers("squeue", "echo 'PENDING|Priority||N/A'")
    interrupt_at(head, "job 7 waits")
    interrupt_at(head, "cancelling")
    assert backend.conduct(folder(), head, False) == 130
    assert head.said[-1] == "left while job 7 ends; squeue -j 7 shows what is left"


def test_ctrl_c_while_the_controller_does_not_answer_is_an_interrupt(folder, slurm, head):
    slurm.answers("sbatch", "echo 'sbatch: error: Unable to contact slurm controller' >&2; exit 1")
    interrupt_at(head, "the SLURM controller does not answer")
    made = folder()
    assert backend.conduct(made, head, False) == 130
    assert head.said[-1].startswith("interrupted by SIGINT: sbatch: Unable to contact slurm controller")
    assert backend.state(made).exit_code == 130


def test_ctrl_c_of_a_stop_leaves_the_job_to_slurm(folder, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 7")
    slurm.answers("squeue", "echo 'RUNNING|None|h0|N/A'")
    made = folder()
    backend.conduct(made, head, True)
    head.interrupt()
    assert backend.stop(made, head) == 3
    assert head.said[-1] == "left while job 7 ends; squeue -j 7 shows what is left"


def test_a_job_that_somebody_cancels_is_a_failed_run_that_names_them(folder, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 7")
    slurm.answers(
        "squeue", "echo 'RUNNING|None|h0|N/A'", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
    )
    slurm.answers("sacct", "echo 'CANCELLED by 4294960000|0:0|h0'")
    assert backend.conduct(folder(), head, False) == 3
    assert head.said[-1] == "job 7 was cancelled by the user of id 4294960000"


def test_a_controller_that_is_away_for_a_while_is_said_once_and_ends_nothing(folder, slurm, head, madrun):
    slurm.runs_jobs()
    away = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
    slurm.answers("squeue", *[away] * 3, f"touch {slurm.scene}/back; {_RUNNING}")
    madrun(f"while ! [ -e {slurm.scene}/back ]; do sleep 0.05; done")
    assert backend.conduct(folder(), head, False) == 0
    assert sum("does not answer" in line for line in head.said) == 1
    assert "the SLURM controller answers again" in head.said


def test_a_question_that_is_broken_off_as_the_job_is_over_does_not_make_the_controller_silent(
    folder, slurm, head, madrun, monkeypatch
):
    monkeypatch.setattr(follow, "_ANSWER_S", 600.0)
    slurm.runs_jobs()
    slurm.answers("squeue", _RUNNING, "exec sleep 300")
    madrun("echo done")
    assert backend.conduct(folder(), head, False) == 0
    assert not [line for line in head.said if "answer" in line]


def test_output_is_shown_while_the_controller_keeps_its_answer_back_which_is_said_once(
    folder, slurm, head, madrun, monkeypatch
):
    monkeypatch.setattr(follow, "_ANSWER_S", 0.3)
    slurm.runs_jobs()
    back, over = slurm.scene / "back", slurm.scene / "over"
    slurm.answers("squeue", _RUNNING, f"while ! [ -e {back} ]; do sleep 0.05; done; {_RUNNING}")
    madrun(f"echo early; while ! [ -e {over} ]; do sleep 0.05; done")

    def let_it_answer():
        wait_for(lambda: b"early" in head.shown and "does not answer" in head.said[-1])
        back.touch()
        wait_for(lambda: "the SLURM controller answers again" in head.said)
        over.touch()

    threading.Thread(target=let_it_answer, daemon=True).start()
    assert backend.conduct(folder(), head, False) == 0
    words = [line for line in head.said if "answer" in line]
    assert len(words) >= 2
    assert all("does not answer (no answer for" in line for line in words[::2])  # slow enough, it may be more than one
    assert all(line == "the SLURM controller answers again" for line in words[1::2])


def test_ctrl_c_is_heard_while_the_controller_keeps_its_answer_back(folder, slurm, head, monkeypatch):
    monkeypatch.setattr(follow, "_ANSWER_S", 0.3)
    monkeypatch.setattr(follow, "_LEAVE_S", 0.3)
    slurm.answers("sbatch", "exit 0", "echo 7")
    slurm.answers("squeue", "echo 'PENDING|Priority||N/A'", "sleep 60")
    slurm.answers("scancel", "sleep 60")
    interrupt_at(head, "the SLURM controller does not answer")
    interrupt_at(head, "cancelling")
    assert backend.conduct(folder(), head, False) == 130
    assert head.said[-1].startswith("left while job 7 ends (scancel gave no answer in")


def test_ctrl_c_while_a_controller_is_down_is_told_so(folder, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 7")
    away = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    slurm.answers("squeue", "echo 'PENDING|Priority||N/A'", away, away, away, "echo 'CANCELLED|None||N/A'")
    slurm.answers("scancel", "echo 'scancel: error: Unable to contact slurm controller' >&2; exit 1")
    interrupt_at(head, "job 7 waits")
    assert backend.conduct(folder(), head, False) == 130
    assert sum("does not answer" in line and "asking until it does" in line for line in head.said) == 1
    assert head.said[-1] == "job 7 is cancelled"


def test_ctrl_c_while_sbatch_is_asked_submits_nothing(folder, slurm, head):
    slurm.answers("sbatch", f"touch {slurm.scene}/asked; sleep 60")
    interrupt_later(head, (slurm.scene / "asked").exists)
    assert backend.conduct(folder(), head, False) == 130
    assert not any("--parsable" in call for call in slurm.calls)
    assert head.said[-1] == "interrupted by SIGINT: nothing was submitted"


def test_a_run_that_has_ended_well_is_not_run_again_by_a_controller_that_lost_what_it_knew(folder, slurm, head, madrun):
    slurm.runs_jobs()
    made = folder()
    ended = f"grep -qs code= {str(made.path / 'attempt-0/job.state')!r}"
    slurm.answers("squeue", _RUNNING, f"if {ended}; then echo 'PENDING|None||N/A'; else {_RUNNING}; fi")
    assert backend.conduct(made, head, False) == 0
    assert "scancel 7" in slurm.calls
    assert "job 7 has ended, and SLURM would run it again; it is cancelled" in head.said


def test_a_job_that_would_never_begin_is_cancelled_with_the_reason(folder, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 7")
    slurm.answers("squeue", "echo 'PENDING|PartitionTimeLimit||N/A'")
    with pytest.raises(ContextError, match=r"job 7 would never begin: PartitionTimeLimit: .*; it is cancelled"):
        backend.conduct(folder(pending_limit="5s"), head, False)
    assert "scancel 7" in slurm.calls


def test_detached_too_a_job_that_would_never_begin_is_cancelled_and_what_is_allowed_said(
    folder, slurm, head, monkeypatch
):
    """It is asked until SLURM has looked at the job; what it says before that is not passed on."""
    monkeypatch.setattr(follow, "_GLANCE_S", 120.0)
    slurm.answers("sbatch", "exit 0", "echo 7")
    early = ("echo 'PENDING|None||N/A'", "echo 'PENDING|PartitionConfig||N/A'")
    slurm.answers("squeue", *early, "echo 'PENDING|PartitionTimeLimit||N/A'")
    slurm.answers("sinfo", "echo 'short|2:00'")
    said = r"never begin: PartitionTimeLimit: .*; found 0-00:10:00, allowed by partition: short 2:00; it is cancelled"
    with pytest.raises(ContextError, match=said):
        backend.conduct(folder(partition="short", time="10"), head, True)
    assert "scancel 7" in slurm.calls
    assert [text for text in head.said if "PartitionConfig" in text] == []


@pytest.mark.parametrize("squeue", ["echo 'PENDING|None||N/A'", "echo 'no answer' >&2; exit 1"])
def test_detached_it_returns_also_where_slurm_has_nothing_to_say_of_the_job(folder, slurm, head, monkeypatch, squeue):
    monkeypatch.setattr(follow, "_GLANCE_S", 0.5)
    slurm.answers("sbatch", "exit 0", "echo 7")
    slurm.answers("squeue", squeue)
    made = folder()
    assert backend.conduct(made, head, True) == 0
    assert head.said == ["submitted as job 7", "madrun status, logs -f and stop know it by this id"]
    assert head.shown == f"{made.launch().id}\n".encode()
    assert "scancel 7" not in slurm.calls


def test_detached_a_job_that_is_gone_already_is_not_asked_for_again(folder, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 7")
    slurm.answers("squeue", "exit 0")
    slurm.answers("sacct", "exit 0")
    assert backend.conduct(folder(), head, True) == 0
    assert len([call for call in slurm.calls if call.startswith("squeue")]) == 1


def test_when_a_job_is_to_begin_is_said_once_for_a_reason(folder, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 7")
    starts = ("N/A", "2026-11-21T23:55:42", "2026-11-21T23:59:00")
    waits = [f"echo 'PENDING|Resources||{start}'" for start in starts]
    others = ("PENDING|Priority||2026-11-22T01:00:00", "PENDING|Licenses||N/A", "CANCELLED|None||N/A")
    slurm.answers("squeue", *waits, *[f"echo '{line}'" for line in others])
    interrupt_at(head, "job 7 waits: Licenses")
    assert backend.conduct(folder(), head, False) == 130
    assert head.said[1:5] == [
        "job 7 waits: Resources: the nodes it needs are busy; it is next once they are free",
        "job 7 is expected to begin 2026-11-21 23:55:42",
        "job 7 waits: Priority: jobs of higher priority are before it (expected to begin 2026-11-22 01:00:00)",
        "job 7 waits: Licenses: it waits for a license",
    ]


def test_a_job_that_has_waited_long_enough_is_cancelled(folder, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 7")
    slurm.answers("squeue", "echo 'PENDING|Resources||N/A'")
    with pytest.raises(NodesError, match=r"has waited for .* \(slurm.pending_limit\): Resources: the nodes it needs"):
        backend.conduct(folder(pending_limit="0.5s"), head, False)
    assert "scancel 7" in slurm.calls


def test_a_start_after_a_requeue_is_shown_and_counts(folder, slurm, head, madrun):
    made = folder(requeue=True)
    first, second = made.path / "attempt-0", made.path / "attempt-1"
    first.mkdir()
    (first / "job.state").write_text("signal=USR2\nrequeued=130\n")
    (first / "node-0.state").write_text("code=130\n")
    (first / "node-0.out").write_text("one\n")
    slurm.answers("sbatch", "exit 0", "echo 7")
    begins = (
        f"mkdir -p {str(second)!r}; cd {str(second)!r}; echo two >node-0.out; echo code=0 >node-0.state; "
        "echo code=0 >job.state; echo 'COMPLETED|None|h0|N/A'"
    )
    slurm.answers("squeue", "echo 'PENDING|BeginTime||N/A'", "echo 'PENDING|BeginTime||N/A'", begins)
    assert backend.conduct(made, head, False) == 0
    assert head.shown == b"one\ntwo\n"
    assert "job 7 runs again, start 2" in head.said


def test_detached_it_returns_and_state_logs_and_stop_know_the_job_by_the_folder(folder, slurm, head, madrun):
    slurm.runs_jobs()
    madrun(SLEEPS)
    made = folder()
    assert backend.conduct(made, head, True) == 0
    printed = head.shown
    wait_for(lambda: (made.path / "attempt-0/node-1.out").exists() and (made.path / "attempt-0/node-0.state").exists())
    assert backend.state(made).phase == "running"
    assert [node.host for node in backend.state(made).nodes] == ["h0", "h1"]
    wait_for(lambda: (made.path / "attempt-0/node-0.out").read_text())
    assert backend.logs(made, head, Which(lines=5)) == 0
    assert head.shown == printed + b"begun\n"
    slurm.answers("squeue", *["echo 'CANCELLED|None|h0|N/A'"] * 9)
    assert backend.stop(made, head) == 0
    assert (backend.state(made).phase, backend.state(made).exit_code) == ("ended", 130)
    assert backend.stop(made, head) == 0
    assert head.said[-1] == "it has ended already"


def test_logs_of_a_job_that_has_not_begun_say_why(folder, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 7")
    slurm.answers("squeue", "echo 'PENDING|Priority||N/A'")
    made = folder()
    backend.conduct(made, head, True)
    assert backend.logs(made, head, Which()) == 0
    assert head.said[-1].startswith("no node has printed anything: pending, job 7: Priority")
    with pytest.raises(UsageError, match=r"--node: found 2, allowed: 0 to 1"):
        backend.logs(made, head, Which(node=2))


def test_inside_of_an_allocation_nothing_is_submitted(folder, slurm, head, madrun):
    madrun('echo "rank $MADRUN_NODE_RANK"')
    head.env = INSIDE
    assert backend.conduct(folder(), head, False) == 0
    assert head.shown == b"rank 0\n"
    assert head.said == ["inside job 7: runs on h0, h1"]
    assert not any(call.startswith("sbatch") for call in slurm.calls)


HAS = {"SLURM_JOB_PARTITION": "main", "SLURM_JOB_ACCOUNT": "perf", "SLURM_GPUS_PER_NODE": "4"}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"account": "perf", "partition": "main", "gpus_per_node": 4, "cpus_per_task": 2, "exclude": "h9"}, ""),
        ({"partition": "gpu", "account": "perf"}, "slurm.partition=gpu (it has main)"),
        ({"gpus_per_node": 8, "time": "2h"}, "slurm.gpus_per_node=8 (it has 4), slurm.time=2h"),
    ],
)
def test_what_only_a_job_of_its_own_could_be_given_is_named_inside_of_an_allocation(folder, slurm, head, values, found):
    head.env = INSIDE | HAS
    assert backend.conduct(folder(**values), head, False) == 0
    notes = [text for text in head.said if "no effect" in text]
    assert notes == ([f"inside job 7 these have no effect: {found}; salloc or sbatch has to be told"] if found else [])


def test_a_case_of_a_suite_says_nothing_of_that_for_its_job_was_asked_for_with_it(folder, slurm, head):
    head.env = INSIDE | {"MADRUN_CASE": "nightly/one/1"}
    assert backend.conduct(folder(time="2h"), head, False) == 0
    assert head.said == ["inside job 7: runs on h0, h1"]


@pytest.fixture
def _ignored():
    """SIGUSR2 is ignored, as in what a job of madrun runs."""
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.usefixtures("_ignored")
def test_ctrl_c_inside_of_an_allocation_ends_the_step_in_order(folder, slurm, head, madrun):
    head.env = INSIDE
    madrun(SLEEPS)
    made = folder()
    interrupt_later(head, lambda: b"begun" in head.shown)
    assert backend.conduct(made, head, False) == 130
    assert (made.path / "attempt-0/node-1.out").read_text() == "begun\ntold\n"
    assert not any(call.startswith("scancel") for call in slurm.calls)


def test_a_stop_inside_of_an_allocation_ends_the_step_in_order_and_is_named(folder, slurm, head, madrun):
    head.env = INSIDE
    madrun(f"echo $PPID >{slurm.scene}/step-$MADRUN_NODE_RANK; {SLEEPS}")
    slurm.answers("scancel", f"kill -USR2 $(cat {slurm.scene}/step-*)")
    made = folder()
    other = type(head)(threading.Event())
    done = []

    def stop():
        wait_for(lambda: b"begun" in head.shown and (slurm.scene / "step-1").exists())
        done.append(backend.stop(made, other))

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    assert backend.conduct(made, head, False) == 130
    thread.join(20)
    assert done == [0]
    assert head.said[-1] == "its step inside of job 7 was ended by madrun stop"
    assert backend.state(made).exit_code == 130


def test_a_launch_whose_allocation_has_ended_with_its_command_has_ended_too(folder, slurm, head):
    made = folder()
    made.journal("inside", job="7", hosts=["h0", "h1"])
    slurm.answers("squeue", _RUNNING)
    assert (backend.state(made).phase, backend.state(made).reason) == ("preparing", "inside of job 7 on h[0-1]")
    attempt = made.path / "attempt-0"
    attempt.mkdir()
    (attempt / "job.state").write_text("job=7\nname=bash\n")
    assert (backend.state(made).phase, backend.state(made).reason) == ("running", "inside of job 7 on h[0-1]")
    (attempt / "node-0.state").write_text("host=h0\ncode=130\n")
    slurm.answers("squeue", *["echo 'CANCELLED|None|h[0-1]|N/A'"] * 9)
    told = backend.state(made)
    assert (told.phase, told.exit_code, told.reason) == ("ended", 3, "job 7 was cancelled")


def test_a_job_that_was_submitted_by_hand_is_known_by_what_it_writes(folder, slurm, head):
    made = folder()
    assert backend.state(made).phase == "preparing"
    attempt = made.path / "attempt-0"
    attempt.mkdir()
    (attempt / "job.state").write_text("job=9\nname=madrun-one-a1b2c3\n")
    slurm.answers("squeue", _RUNNING)
    assert (backend.state(made).phase, backend.state(made).reason) == ("running", "job 9 on h[0-1]")
    (attempt / "node-0.state").write_text("host=h0\ncode=0\n")
    (attempt / "job.state").write_text("job=9\nname=madrun-one-a1b2c3\ncode=0\n")
    assert (backend.state(made).phase, backend.state(made).exit_code) == ("ended", 0)
    (attempt / "job.state").write_text("job=9\nname=interactive\n")
    assert backend.stop(made, head) == 3
    assert not any(call.startswith("scancel") for call in slurm.calls)


def test_a_launch_inside_of_an_allocation_cannot_be_detached(folder, slurm, head):
    head.env = INSIDE
    with pytest.raises(UsageError, match=r"--detach: found inside of job 7"):
        backend.conduct(folder(), head, True)


def test_nodes_of_an_allocation_can_be_left_out(folder, slurm, head):
    head.env = INSIDE
    with pytest.raises(ContextError, match=r"found 2, but job 7 has 1 nodes to choose from: h0"):
        backend.conduct(folder(exclude="h1"), head, False)


def wait_for(condition, limit_s=60.0):
    """Until something holds."""
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)
