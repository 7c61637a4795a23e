"""A launch inside of an allocation that the user has already: its script runs here, and its step there."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.slurm.attempt import CANCELLED, JOB_LOG, Attempt, latest
from madrun.backends.slurm.client import ask, hostnames
from madrun.backends.slurm.follow import TICK_S, tails_of
from madrun.backends.slurm.script import JOB
from madrun.backends.slurm.settings import SlurmSettings
from madrun.backends.slurm.verdict import Verdict, judge
from madrun.errors import ContextError, ExitCode
from madrun.spec.launch import CASE

# The "steps" that are the shell of salloc and the script of sbatch (slurm.h: SLURM_INTERACTIVE_STEP and so on).
_NO_STEPS = ("4294967290", "4294967291", "4294967292")

# What is asked for with a job and not with a step, and the variable by which salloc(1) and sbatch(1) tell what it got.
_OF_JOB = {
    "partition": "SLURM_JOB_PARTITION",
    "account": "SLURM_JOB_ACCOUNT",
    "qos": "SLURM_JOB_QOS",
    "reservation": "SLURM_JOB_RESERVATION",
    "gpus_per_node": "SLURM_GPUS_PER_NODE",
    **dict.fromkeys(("time", "constraint", "exclusive", "mem", "requeue", "sbatch", "pending_limit"), ""),
}


@dataclass(frozen=True, slots=True)
class Allocation:
    """The job that this process stands in; `step` where it is a task of one, whose nodes are taken already."""

    job: str
    hosts: tuple[str, ...]
    step: str


def allocation_of(env: Mapping[str, str]) -> Allocation | None:
    """None outside of one."""
    if not env.get("SLURM_JOB_ID") or not env.get("SLURM_JOB_NODELIST"):
        return None
    step = env.get("SLURM_STEP_ID", "")
    hosts = hostnames(env["SLURM_JOB_NODELIST"])
    return Allocation(env["SLURM_JOB_ID"], hosts, "" if step in _NO_STEPS else step)


def unheeded(values: Mapping[str, Any], env: Mapping[str, str], job: str) -> str:
    """In one sentence what was asked for and only salloc or sbatch could have given; empty where the job has it.

    `values`: the settings that were said. In a suite's case nothing is: its job was asked for with the same settings.
    """
    found = []
    for key, variable in _OF_JOB.items():
        asked, has = values.get(key), env.get(variable, "")
        if asked is not None and str(asked) != has:
            found.append(f"slurm.{key}={asked}{f' (it has {has})' if has else ''}")
    if not found or CASE in env:
        return ""
    return f"inside job {job} these have no effect: {', '.join(found)}; salloc or sbatch has to be told"


def chosen(allocation: Allocation, settings: SlurmSettings, nnodes: int) -> tuple[str, ...]:
    """So many of its hosts, in its order: those of slurm.nodelist, and none of slurm.exclude."""
    out = set(hostnames(settings.exclude)) if settings.exclude else set()
    wanted = set(hostnames(settings.nodelist)) if settings.nodelist else set()
    if strange := sorted(wanted - set(allocation.hosts)):
        raise ContextError(f"slurm.nodelist: found {', '.join(strange)}, which job {allocation.job} does not have")
    fit = [host for host in allocation.hosts if host not in out]
    first = [host for host in fit if host in wanted] + [host for host in fit if host not in wanted]
    if len(first) < nnodes:
        raise ContextError(
            f"slurm.nodes: found {nnodes}, but job {allocation.job} has {len(first)} nodes to choose from: "
            f"{', '.join(fit) or 'none'}; lower --nodes or slurm.exclude"
        )
    taken = set(first[:nnodes])
    return tuple(host for host in allocation.hosts if host in taken)


def run_inside(folder: LaunchFolder, allocation: Allocation, settings: SlurmSettings, head: Head) -> Verdict:
    """Runs the job's script as a child of this process; a signal is passed on to it once, and again."""
    launch = folder.launch()
    hosts = chosen(allocation, settings, launch.nnodes)
    folder.journal("inside", job=allocation.job, hosts=list(hosts))
    head.say(f"inside job {allocation.job}: runs on {', '.join(hosts)}")
    _heed_warnings()
    more = [f"MADRUN_HOSTS={' '.join(hosts)}", *(["MADRUN_OVERLAP=1"] if allocation.step else [])]
    words = ["env", "-u", "SLURM_RESTART_COUNT", *more, "sh", str(folder.path / JOB)]
    with (folder.path / JOB_LOG).open("ab") as log:
        child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=folder.path
        )
    attempt = _watch(folder, child, head)
    if head.stop.is_set():
        return Verdict(ExitCode.INTERRUPTED)
    if (folder.path / CANCELLED).exists() and (attempt is None or attempt.code):
        return Verdict(ExitCode.INTERRUPTED, f"its step inside of job {allocation.job} was ended by madrun stop")
    return judge(folder.path, allocation.job, attempt, None, settings.signal_s)


def _heed_warnings() -> None:
    """SIGUSR1 and SIGUSR2, where they are ignored, do nothing here from now on, and are as usual in what is started.

    In what a job of madrun runs they are ignored, and a shell cannot trap what was ignored when it began: the script is
    to be told of an interrupt by one of them.
    """
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)


def _watch(folder: LaunchFolder, child: subprocess.Popen[bytes], head: Head) -> Attempt | None:
    tails = tails_of(folder.path / "attempt-0", head)
    passed_on = 0
    while child.poll() is None:
        for tail in tails:
            tail.pass_on()
        if head.count > passed_on:
            passed_on = head.count
            child.send_signal(signal.SIGUSR2) if passed_on == 1 else _kill_step(folder)
        if not head.stop.is_set():
            head.stop.wait(TICK_S)
        else:
            _wait(child)
    for tail in tails:
        tail.pass_on()
    return latest(folder.path)


def _wait(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(TICK_S)
    except subprocess.TimeoutExpired:
        return


def _kill_step(folder: LaunchFolder) -> None:
    """The step alone: other steps of the allocation are none of this launch's business."""
    if step := step_of(folder):
        ask(["scancel", step])


def step_of(folder: LaunchFolder) -> str:
    """`12.3`, the step of a launch inside of an allocation; empty as long as none has begun."""
    from madrun.backends.slurm.attempt import values

    job = next((str(event["job"]) for event in folder.events() if event["event"] == "inside"), "")
    found = latest(folder.path)
    step = values(found.path / "node-0.state").get("step", "") if found else ""
    return f"{job}.{step}" if job and step else ""
