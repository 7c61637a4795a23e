"""SLURM: one job, one task a node, and the files of the launch folder as the truth on what became of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.nodescript import node_script
from madrun.backends.slurm.client import Job
from madrun.backends.slurm.containers import front_words, srun_words
from madrun.backends.slurm.follow import Follower, end_job
from madrun.backends.slurm.header import job_name
from madrun.backends.slurm.inside import allocation_of, run_inside, unheeded
from madrun.backends.slurm.script import JOB, STEP, array_script, job_script, local_script, step_script
from madrun.backends.slurm.settings import SlurmSettings, read
from madrun.backends.slurm.showing import show_logs
from madrun.backends.slurm.standing import job_in, state_of
from madrun.backends.slurm.stopping import stop_inside
from madrun.backends.slurm.submitting import check_and_submit
from madrun.backends.state import LaunchState, Which
from madrun.errors import ContextError, ExitCode, MadrunError, UsageError
from madrun.spec.launch import SCRIPT, Launch

__all__ = [
    *("conduct", "logs", "read", "render", "render_array", "render_body", "state", "stop", "submit_array"),
]
_NETWORK = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")


def render(launch: Launch, settings: SlurmSettings) -> dict[str, str]:
    """The job's script and the task's; the node's script too where SLURM settings change it."""
    adapted = _adapted(launch, settings)
    files = {
        JOB: job_script(launch, settings, srun_words(launch, settings)),
        STEP: step_script(launch, front=front_words(launch, settings)),
    }
    return files if adapted == launch else {**files, SCRIPT: node_script(adapted)}


def render_body(launch: Launch, settings: SlurmSettings, words: Sequence[str]) -> dict[str, str]:
    """As `render`, for a job in which these words run on the first node alone, and start steps of their own."""
    return {JOB: local_script(launch, settings), STEP: step_script(launch, words)}


def render_array(launches: Sequence[Launch], settings: SlurmSettings) -> dict[str, str]:
    """One job script, a task of its array for each launch; every launch has a folder of its own with its `render`.

    Raises `ContextError` where they are not of one number of nodes, or their steps differ: the script has one of each.
    """
    counts = sorted({launch.nnodes for launch in launches})
    if len(counts) != 1:
        raise ContextError(f"--array: found cases of {', '.join(map(str, counts))} nodes, allowed: one number for all")
    steps = {(srun_words(launch, settings), launch.master_addr) for launch in launches}
    if len(steps) != 1:
        raise ContextError("--array: found cases of several images or MASTER_ADDR, allowed: one for all; leave it out")
    return {JOB: array_script(launches, settings, srun_words(launches[0], settings))}


def submit_array(script: os.PathLike[str], folders: Sequence[LaunchFolder], head: Head) -> str:
    """Submits what `render_array` made, and notes in each folder its task; the number of the job."""
    from pathlib import Path

    launches = [folder.launch() for folder in folders]
    hidden = tuple(sorted({name for launch in launches for name in launch.secrets}))
    job = check_and_submit(Path(script), job_name(launches[0]), hidden, head)
    for number, folder in enumerate(folders):
        folder.journal("submitted", job=f"{job.id}_{number}", cluster=job.cluster)
    head.say(f"madrun stop LAUNCH ends one task of job {job.id}, scancel {job.id} all of them")
    return job.id


def conduct(folder: LaunchFolder, head: Head, detach: bool) -> int:
    """Submits the folder's script and watches it; inside of an allocation the script runs at once."""
    launch = folder.launch()
    settings, _ = read(launch.settings, launch.nnodes, env=head.env)
    for note in settings.notes:
        head.say(note)
    try:
        if allocation := allocation_of(head.env):
            if detach:
                raise UsageError(f"--detach: found inside of job {allocation.job}, which ends with its shell; leave it")
            if note := unheeded(launch.settings, head.env, allocation.job):
                head.say(note)
            verdict = run_inside(folder, allocation, settings, head)
        else:
            job = _submitted(folder, launch, head)
            if detach:
                Follower(folder, job, settings, head).glance()
                head.show(f"{launch.id}\n".encode())
                head.say("madrun status, logs -f and stop know it by this id")
                return 0
            verdict = Follower(folder, job, settings, head).run()
    except MadrunError as error:
        code = ExitCode.INTERRUPTED if head.stop.is_set() else error.exit_code
        folder.journal("ended", code=int(code), text=str(error))
        folder.forget_private()
        if not head.stop.is_set():
            raise
        head.say(f"{head.reason}: {error}")
        return int(code)
    if verdict.text:
        head.say(verdict.text)
    folder.journal("ended", code=int(verdict.code), text=verdict.text)
    folder.forget_private()
    return int(verdict.code)


def state(folder: LaunchFolder) -> LaunchState:
    """Of the files that the job writes, of SLURM, and of what the command that waited for it has noted."""
    return state_of(folder)


def logs(folder: LaunchFolder, head: Head, which: Which) -> int:
    """What a node has printed; of a job that has not begun, why."""
    return show_logs(folder, head, which, lambda: state(folder))


def stop(folder: LaunchFolder, head: Head) -> int:
    """Cancels the job, from whatever host of the cluster, and waits until nothing of it runs."""
    if any(event["event"] == "ended" for event in folder.events()):
        head.say("it has ended already")
        return 0
    if (job := job_in(folder)) is None:
        return stop_inside(folder, head)
    folder.journal("stopping", job=job.id)
    left = end_job(folder, job, head, lambda: None)
    if left:
        head.say(left)
        return 3
    verdict = state(folder)
    folder.journal("ended", code=verdict.exit_code or 0, text=verdict.reason)
    folder.forget_private()
    head.say(f"job {job.id} has ended")
    return 0


def _submitted(folder: LaunchFolder, launch: Launch, head: Head) -> Job:
    job = check_and_submit(folder.path / JOB, job_name(launch), launch.secrets, head)
    folder.journal("submitted", job=job.id, cluster=job.cluster)
    head.say(f"submitted as job {job.id}")
    return job


def _adapted(launch: Launch, settings: SlurmSettings) -> Launch:
    """The launch as these settings change what every node is told."""
    words = launch.words
    if settings.containers != "docker":
        words = (*words, "--runtime", "process")
    if settings.network_interface:
        said = [f"multi_node_args.{name}={settings.network_interface}" for name in _NETWORK]
        words = (*(word for text in said for word in ("--set", text)), *words)
    return replace(launch, words=words, modules=launch.modules or settings.modules)
