"""What became of a job: the exit code of the command, and in words what node 0 could not say itself."""

from __future__ import annotations

import pwd
from dataclasses import dataclass
from pathlib import Path

from madrun.backends.slurm.attempt import CANCELLED, JOB_LOG, OWN, Attempt
from madrun.backends.slurm.states import JobState
from madrun.backends.slurm.times import parse_time
from madrun.errors import ExitCode

_LINES = 5
_WORDS = {
    "TIMEOUT": "it reached its time limit (slurm.time)",
    "DEADLINE": "it reached its deadline",
    "NODE_FAIL": "SLURM lost one of its nodes",
    "OUT_OF_MEMORY": "it needed more memory than the job has (slurm.mem)",
    "PREEMPTED": "a job of higher priority took its nodes",
    "BOOT_FAIL": "a node did not come up",
    "REVOKED": "another cluster has taken it",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`text` is empty where node 0 has said all there is to say."""

    code: int
    text: str = ""


def judge(folder: Path, job: str, attempt: Attempt | None, state: JobState | None, warned_s: int) -> Verdict:
    """`state`: the last that SLURM said, None where it said nothing. `warned_s`: the warning before the time limit."""
    first = attempt.tasks.get(0) if attempt else None
    if (folder / CANCELLED).exists() and (first is None or first.code not in OWN):
        return Verdict(ExitCode.INTERRUPTED, f"job {job} was cancelled by madrun")
    why = _why(attempt, state, warned_s)
    if first is not None and first.code in OWN:
        return Verdict(first.code, f"job {job} {why}" if why and first.code else "")
    if attempt is None:
        return Verdict(ExitCode.RUN_FAILED, f"job {job} {why or _not_begun(folder, state)}{_log(folder)}")
    if why:
        return Verdict(ExitCode.RUN_FAILED, f"job {job} {why}")
    others = sorted((one for one in attempt.tasks.values() if one.code not in (None, 0, 130, 143)), key=_by_end)
    if others:
        one = others[0]
        code = one.code if one.code in OWN else ExitCode.RUN_FAILED
        text = f"node {one.rank} ({one.host}) ended with code {one.code} before node 0 had ended"
        if one.rank == 0:
            text = f"madrun on node 0 ({one.host}) ended with code {one.code}"
        return Verdict(int(code or 0), f"job {job}: {text}{_tail(attempt.path / f'node-{one.rank}.err')}")
    return Verdict(ExitCode.RUN_FAILED, f"job {job} ended before node 0 said how{_word(state)}{_log(folder)}")


def _by_end(task: object) -> int:
    return int(getattr(task, "ended", 0))


def _why(attempt: Attempt | None, state: JobState | None, warned_s: int) -> str:
    """Who or what has ended it from outside; empty where nobody did."""
    word = state.word if state else ""
    if word == "CANCELLED":
        return f"was cancelled{_name(state.by if state else '')}"
    if word in _WORDS:
        return f"was ended by SLURM: {_WORDS[word]}"
    if attempt is not None and attempt.signal:
        if _at_limit(attempt.ran, warned_s):
            return f"was told to end {warned_s} s before its time limit (slurm.time, slurm.signal_s)"
        return f"was told to end from outside (SIG{attempt.signal}): preempted, or by scancel --signal"
    return ""


def _at_limit(ran: str, warned_s: int) -> bool:
    """Whether `5:02 1:00:00`, the time it had run and its limit, is near the end; a warning may come a minute early."""
    try:
        run, limit = (parse_time(text) for text in ran.split())
    except ValueError:
        return False
    return limit is not None and (run or 0) + warned_s + 90 >= limit


def _name(uid: str) -> str:
    if not uid:
        return ""
    try:
        return f" by {pwd.getpwuid(int(uid)).pw_name}"
    except (KeyError, OverflowError):
        return f" by the user of id {uid}"


def _not_begun(folder: Path, state: JobState | None) -> str:
    on = f" on {state.hosts}" if state and state.hosts else ""
    return (
        f"ended{_word(state)} before its script could write into {folder}{on}; the results (--results) have to lie on "
        "a file system that the nodes share with this host"
    )


def _word(state: JobState | None) -> str:
    if state is None or state.phase != "ended":
        return ""
    return f" ({state.word}{f', {state.reason}' if state.reason else ''})"


def _log(folder: Path) -> str:
    return _tail(folder / JOB_LOG)


def _tail(file: Path) -> str:
    """The last lines of a log under the sentence that speaks of it."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "".join(f"\n  {line}" for line in lines[-_LINES:]) + (f"\n  ({file})" if lines else "")
