"""The job's script as a shell runs it: addresses, signals, requeues, and what it leaves behind."""

import os
import signal
import subprocess
import time

import pytest

from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.slurm import backend
from madrun.backends.slurm.attempt import latest, values
from madrun.backends.slurm.settings import read

pytestmark = pytest.mark.slow
JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "h[0-1]"}
SLEEPS = "trap 'echo told; exit 130' TERM; echo begun; i=0; while [ $((i += 1)) -lt 600 ]; do sleep 0.05; done"


def run(folder, **env):
    """The script to its end: its code and what it said."""
    words = ["sh", folder.path / "job.sh"]
    done = subprocess.run(
        words, env={**os.environ, **JOB, **env}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stderr


def signalled(folder, number, **env):
    """The script, sent this signal once node 0 has printed something; its code."""
    child = subprocess.Popen(["sh", folder.path / "job.sh"], env={**os.environ, **JOB, **env}, stdin=subprocess.DEVNULL)
    limit = time.monotonic() + 20
    while not all((folder.path / f"attempt-0/node-{rank}.out").exists() for rank in (0, 1)) or any(
        not (folder.path / f"attempt-0/node-{rank}.out").read_text() for rank in (0, 1)
    ):
        assert time.monotonic() < limit
        time.sleep(0.02)
    child.send_signal(number)
    return child.wait(30)


def replaces(slurm, name, text):
    path = slurm.scene.parent / "programs" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("addresses", "master"),
    [
        ("127.0.1.1 10.0.0.7", "10.0.0.7"),
        ("::1 fe80::1 fd00::7", "fd00::7"),
        ("192.168.1.2 10.0.0.7", "192.168.1.2"),
    ],
)
def test_node_0_is_reached_by_an_address_that_is_no_loopback(folder, slurm, addresses, master):
    replaces(slurm, "getent", f'for one in {addresses}; do echo "$one STREAM h0"; done')
    made = folder()
    assert run(made)[0] == 0
    assert values(made.path / "attempt-0/job.state")["master"] == master


def test_without_such_an_address_no_run_begins(folder, slurm):
    replaces(slurm, "getent", "echo '127.0.1.1 STREAM h0'")
    made = folder()
    code, said = run(made)
    assert (code, made.path.joinpath("attempt-0/node-0.state").exists()) == (2, False)
    assert said == "madrun: error: h0 has no address but a loopback one here; set multi_node_args.MASTER_ADDR\n"


def test_too_few_nodes_are_an_error(folder, slurm):
    assert run(folder(), SLURM_JOB_NODELIST="h0") == (2, "madrun: error: found 1 nodes (h0) in job 7, allowed: 2\n")


def test_a_folder_that_a_node_does_not_see_is_said_on_it(folder):
    made = folder()
    (made.path / "launch.json").rename(made.path / "elsewhere")
    code, said = run(made)
    assert code == 2
    assert "cannot be used on" in said
    assert "the results (--results) have to lie where all nodes can write" in said


def test_variables_of_the_users_shell_do_not_change_ranks_and_leases(folder, madrun):
    madrun('echo "$MADRUN_NODE_RANK ${MADRUN_LEASE:-none}"')
    made = folder()
    assert run(made, MADRUN_NODE_RANK="9", MADRUN_LEASE="stdin", MADRUN_MASTER_ADDR="nowhere")[0] == 0
    assert [(made.path / f"attempt-0/node-{rank}.out").read_text() for rank in (0, 1)] == ["0 none\n", "1 none\n"]


def test_a_warning_ends_every_node_in_order_and_is_written_down(folder, slurm, madrun):
    slurm.answers("squeue", "echo '5:02 1:00:00'")
    madrun(SLEEPS)
    made = folder()
    assert signalled(made, signal.SIGUSR2) == 130
    assert [(made.path / f"attempt-0/node-{rank}.out").read_text() for rank in (0, 1)] == ["begun\ntold\n"] * 2
    found = latest(made.path)
    assert (found.signal, found.ran, found.code, found.requeued) == ("USR2", "5:02 1:00:00", 130, False)
    assert not (made.path / "private.env").exists()


@pytest.mark.parametrize(
    ("ran", "restarts", "again"),
    [("5:02 1:00:00", "0", True), ("57:30 1:00:00", "0", False), ("1-00:00:00 2-00:00:00", "0", True)]
    + [("1-23:58:00 2-00:00:00", "0", False), ("5:02 UNLIMITED", "0", True), ("5:02 1:00:00", "3", False)],
)
def test_a_run_that_is_preempted_is_queued_again_and_one_at_its_limit_is_not(
    folder, slurm, ran, restarts, again, madrun
):
    slurm.answers("squeue", f"echo '{ran}'")
    replaces(slurm, "scontrol", f'echo "scontrol $*" >>{slurm.scene}/calls; [ "$1" = requeue ] || printf "h0\\nh1\\n"')
    replaces(
        slurm,
        "srun",
        'trap "exit 130" USR2; echo begun | tee "$A/node-0.out" >"$A/node-1.out"; '
        "i=0; while [ $((i += 1)) -lt 600 ]; do sleep 0.05; done",
    )
    made = folder(requeue=True)
    (made.path / "attempt-0").mkdir()
    env = {"SLURM_RESTART_COUNT": restarts, "A": str(made.path / "attempt-0")}
    assert signalled(made, signal.SIGUSR2, **env) == 130
    assert ("scontrol requeue 7" in slurm.calls) is again
    assert latest(made.path).requeued is again
    assert (made.path / "private.env").exists() is again


def test_what_was_cancelled_by_madrun_is_not_queued_again_and_ends_as_cancelled(folder, slurm, madrun):
    slurm.answers("squeue", "echo '5:02 1:00:00'")
    slurm.answers("scancel", "exit 1")
    madrun(SLEEPS)
    made = folder(requeue=True)
    (made.path / "cancelled").touch()
    assert signalled(made, signal.SIGUSR2) == 130
    assert "scancel 7" in slurm.calls
    assert not latest(made.path).requeued


def test_what_was_cancelled_by_madrun_ends_as_soon_as_slurm_says_so_and_not_after_its_kill_wait(folder, slurm, madrun):
    slurm.answers("scancel", "kill -TERM $PPID")
    madrun(SLEEPS)
    made = folder()
    (made.path / "cancelled").touch()
    assert signalled(made, signal.SIGUSR2) == 130


def test_a_folder_is_of_one_job_for_its_secrets_are_gone_with_it(folder, madrun):
    madrun("echo run")
    made = folder()
    assert run(made)[0] == 0
    code, said = run(made, SLURM_JOB_ID="8")
    assert code == 2
    assert f"{made.path} is what job 7 ran, and a launch is run once; madrun render writes another" in said
    assert (made.path / "attempt-0/node-0.out").read_text() == "run\n"


def test_a_start_that_has_ended_is_not_made_again_where_slurm_has_forgotten_it(folder, madrun):
    """A controller that is killed knows what it wrote down last, 5 s ago, say, and starts such a job anew."""
    madrun("echo run; exit 3")
    made = folder()
    assert run(made)[0] == 3
    code, said = run(made)
    assert (code, said) == (3, "madrun: this start of job 7 has ended before, with code 3\n")
    assert (made.path / "attempt-0/node-0.out").read_text() == "run\n"


def test_a_repository_that_a_node_does_not_see_is_named(launch, tmp_path, slurm, madrun):
    settings, _ = read({}, 2, {})
    made = launch(backend="slurm", folder=str(tmp_path / "L"), repository="/not/here")
    folder = LaunchFolder.create(made, backend.render(made, settings), {})
    assert run(folder)[0] == 2
    said = (folder.path / "attempt-0/node-1.err").read_text()
    assert said.startswith("madrun: error: h1 does not see the repository /not/here, which all nodes have to share\n")


@pytest.mark.parametrize(
    ("plugin", "told"), [("proctrack/cgroup", "begun\ntold\n"), ("proctrack/linuxproc", "begun\n")]
)
def test_a_sigterm_is_passed_on_where_slurm_reaches_the_first_process_alone(folder, slurm, madrun, plugin, told):
    replaces(slurm, "scontrol", f'case $2 in config) echo "ProctrackType = {plugin}" ;; *) echo h0; echo h1 ;; esac')
    task = 'while [ "${1#-}" != "$1" ]; do shift; done; SLURM_PROCID=0 "$@" & p=$!'
    replaces(slurm, "srun", f"{task}; sleep 0.5; kill -TERM $p; wait $p")
    madrun("trap 'echo told; exit 130' TERM; echo begun; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; done")
    made = folder()
    run(made)
    assert (made.path / "attempt-0/node-0.out").read_text() == told
    assert "signal=TERM" in (made.path / "attempt-0/node-0.state").read_text()
    assert latest(made.path).signal == ("TERM" if plugin == "proctrack/cgroup" else "")


def test_a_job_with_a_command_of_its_own_runs_it_on_its_first_node(launch, tmp_path, slurm):
    settings, _ = read({}, 2, {})
    made = launch(backend="slurm", folder=str(tmp_path / "L"))
    words = ("sh", "-c", 'echo "$MADRUN_SECRET a  b"; exit 5')
    folder = LaunchFolder.create(made, backend.render_body(made, settings, words), {"MADRUN_SECRET": "s"})
    assert run(folder)[0] == 5
    assert (folder.path / "attempt-0/node-0.out").read_text() == "s a  b\n"


def test_each_task_of_an_array_runs_its_own_launch(launch, tmp_path, slurm, madrun):
    settings, _ = read({}, 2, {})
    madrun('echo "$MADRUN_LAUNCH"')
    names = ("20261121T000000Z-one-000001", "20261121T000000Z-one-000002")
    cases = [launch(backend="slurm", id=name, folder=str(tmp_path / name), repository=str(tmp_path)) for name in names]
    folders = [LaunchFolder.create(case, backend.render(case, settings), {}) for case in cases]
    script = tmp_path / "array.sh"
    script.write_text(backend.render_array(cases, settings)["job.sh"])
    subprocess.run(["sh", script], env={**os.environ, **JOB, "SLURM_ARRAY_TASK_ID": "1"}, check=True, timeout=60)
    assert latest(folders[0].path) is None
    assert (folders[1].path / "attempt-0/node-1.out").read_text() == f"slurm:{names[1]}\n"
