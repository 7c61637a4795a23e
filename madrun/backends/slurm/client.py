"""SLURM's own commands, asked in text: their JSON changed its shape with nearly every release."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from madrun.backends.slurm.states import JobState, read_accounting, read_queue
from madrun.errors import UsageError

QUEUE_FORMAT = "%T|%r|%N|%S"
Beside = Callable[[], bool]  # what goes on meanwhile, five times a second; False once the answer is of no use any more
_ASK_S, _SUBMIT_S, _TICK_S = 30.0, 120.0, 0.2
_ID = re.compile(r"([0-9]+(?:_[0-9]+)?)(?:;(\S+))?", re.ASCII)


class Unanswered(Exception):
    """The controller did not answer; holds what the command said, in one line."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command ended with and printed."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its errors without the names of programs before them; what it printed where it said none."""
        lines = [re.sub(r"^\w+: (error: )?", "", line.strip()) for line in (self.err or self.out).splitlines()]
        return "; ".join(dict.fromkeys(line for line in lines if line))


@dataclass(frozen=True, slots=True)
class Job:
    """A job by its number, `12` or `12_3`; `cluster` where sbatch named one."""

    id: str
    cluster: str = ""

    def words(self, program: str) -> list[str]:
        """The beginning of a command about it."""
        return [program, *(["-M", self.cluster] if self.cluster else [])]


def always() -> bool:
    """For what is asked with nothing beside it."""
    return True


def ask(words: Sequence[str], beside: Beside = always, limit_s: float = _ASK_S, name: str = "") -> Answer:
    """Runs a command of SLURM; `UsageError` where this host has none.

    While the controller is down such a command takes 20 s. It has a session of its own: Ctrl-C, which reaches all that
    runs on a terminal, must not end sbatch between handing over a job and printing its number.
    """
    begun, pipe = time.monotonic(), subprocess.PIPE
    try:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True)
    except FileNotFoundError:
        raise UsageError(
            f"--on slurm: found no {words[0]} on this host; type the command on a login node of the cluster, or write "
            "the files with madrun render --on slurm and submit job.sh there"
        ) from None
    with child:
        while True:
            try:
                out, err = child.communicate(timeout=_TICK_S)
                return Answer(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
            except subprocess.TimeoutExpired:
                waited = time.monotonic() - begun
            if waited >= limit_s or not beside():
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                return Answer(124, "", f"{name or words[0]} gave no answer in {waited:.0f} s")


def submit(words: Sequence[str], beside: Beside = always) -> Answer:
    """Runs sbatch, by words before it; a busy controller may take its time over it."""
    return ask(words, beside, _SUBMIT_S, "sbatch")


def job_of(text: str) -> Job | None:
    """The job that `sbatch --parsable` printed: its number, and after a semicolon the cluster."""
    for line in reversed(text.splitlines()):
        if found := _ID.fullmatch(line.strip()):
            return Job(found[1], found[2] or "")
    return None


def named(name: str) -> Job | None:
    """The job of this name that is in the queue, of an array the whole; None for none."""
    answer = ask(["squeue", "--noheader", "--states=all", "--me", f"--name={name}", "--format=%F"])
    return job_of(answer.out) if answer.code == 0 else None


def look(job: Job, beside: Beside = always) -> JobState | None:
    """How the job stands; None where neither the controller nor the accounting knows it any more.

    Raises `Unanswered` where nobody could be asked.
    """
    words = [*job.words("squeue"), "--noheader", "--states=all", f"--jobs={job.id}", f"--format={QUEUE_FORMAT}"]
    answer = ask(words, beside)
    if answer.code == 0 and (state := read_queue(answer.out)):
        return state
    if answer.code and "Invalid job id" not in answer.err:
        raise Unanswered(answer.said)
    return account(job, beside)


def account(job: Job, beside: Beside = always) -> JobState | None:
    """What the accounting says of it; None where there is none, or it does not know the job."""
    try:
        words = ["-X", "-n", "-P", f"--jobs={job.id}", "--format=State,ExitCode,NodeList"]
        answer = ask([*job.words("sacct"), *words], beside)
    except UsageError:
        return None
    return read_accounting(answer.out) if answer.code == 0 else None


def cancel(job: Job, beside: Beside = always) -> str:
    """Asks SLURM to end it; what it said against that, empty where it took it, or the job is gone."""
    answer = ask([*job.words("scancel"), job.id], beside)
    return "" if answer.code == 0 or "Invalid job id" in answer.err or "already" in answer.err else answer.said


def warn(job: Job, beside: Beside = always) -> str:
    """Asks the job's script to end what runs in order; what SLURM said against that, empty where it took it."""
    answer = ask([*job.words("scancel"), "--batch", "--signal=USR2", job.id], beside)
    return "" if answer.code == 0 else answer.said


def hostnames(expression: str) -> tuple[str, ...]:
    """The hosts of `n[1-3,7]`, as scontrol spells them out."""
    answer = ask(["scontrol", "show", "hostnames", expression])
    if answer.code:
        raise UsageError(f"scontrol show hostnames {expression}: {answer.said}")
    return tuple(answer.out.split())
