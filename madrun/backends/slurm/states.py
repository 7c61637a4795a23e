"""Job states and the reasons for waiting, in SLURM's words and in plain ones (squeue(1), sacct(1))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from madrun.backends.state import LaunchPhase

_PENDING = {
    *("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "SUSPENDED"),
    *("CONFIGURING", "STOPPED", "POWER_UP_NODE"),
}
_RUNNING = {"RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING", "UPDATE_DB"}
_ENDED = {
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"),
    *("PREEMPTED", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"),
}
_ACCOUNTED = re.compile(r"([A-Z_]+)\+?(?: by ([0-9]+))?")


@dataclass(frozen=True, slots=True)
class JobState:
    """`word` as SLURM has it; `by`: the user id that cancelled it, where the accounting knows; `start`: expected."""

    word: str
    reason: str = ""
    hosts: str = ""
    start: str = ""
    by: str = ""

    @property
    def phase(self) -> LaunchPhase:
        """A word that no list here has is `lost`: nothing is concluded from it."""
        if self.word in _ENDED:
            return "ended"
        return "pending" if self.word in _PENDING else "running" if self.word in _RUNNING else "lost"

    @property
    def seen(self) -> bool:
        """Whether the scheduler has looked at it for sure: these are also the reasons of a job that is new."""
        return self.phase != "pending" or self.reason not in ("", "WaitingForScheduling", "PartitionConfig")

    @property
    def expected(self) -> str:
        """When it is to begin, where SLURM knows (squeue(1), START_TIME): `expected to begin 2026-11-21 23:55:42`."""
        return f"expected to begin {self.start.replace('T', ' ')}" if self.start else ""

    @property
    def waits(self) -> str:
        """Why it waits in words, and until when."""
        return f"{waiting_text(self.reason)}{f' ({self.expected})' if self.expected else ''}"


def read_queue(text: str) -> JobState | None:
    """A line of squeue in the format STATE|REASON|NODES|START; a reason may hold blanks, and a bar."""
    line = next((line.strip() for line in text.splitlines() if "|" in line), "")
    parts = line.split("|")
    if len(parts) < 4:
        return None
    reason = "|".join(parts[1:-2])
    start = parts[-1] if parts[-1] != "N/A" else ""
    return JobState(parts[0].strip(), "" if reason in ("None", "(null)") else reason, parts[-2], start)


def read_accounting(text: str) -> JobState | None:
    """The last line of sacct in the format STATE|CODE|NODES: `CANCELLED by 1000|0:0|n[1-2]`."""
    lines = [line.split("|") for line in text.splitlines() if line.count("|") >= 2]
    found = _ACCOUNTED.match(lines[-1][0].strip()) if lines else None
    if found is None:
        return None
    return JobState(found[1], hosts=lines[-1][2], by=found[2] or "")


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a reason means, and what to do. `hopeless`: as long as nobody changes job or cluster it never begins.

    `key`: of what `offers.allowed` may know something better.
    """

    text: str
    hopeless: bool = False
    key: str = ""


# By pattern, the first that fits; the meanings are those of squeue(1), JOB REASON CODES.
_REASONS: dict[str, Waiting] = {
    "Priority": Waiting("jobs of higher priority are before it"),
    "Resources": Waiting("the nodes it needs are busy; it is next once they are free"),
    "None": Waiting("the scheduler has not looked at it yet"),
    "WaitingForScheduling": Waiting("the scheduler has not looked at it yet"),
    "BeginTime": Waiting("it may not begin yet; after a requeue that takes about two minutes"),
    "Cleaning": Waiting("what its last attempt left is being cleaned up"),
    "Prolog": Waiting("the site's prologue runs"),
    "Nodes required for job are DOWN*": Waiting("all nodes that fit are down, drained or reserved (sinfo -R says why)"),
    "ReqNodeNotAvail*": Waiting("a node it needs is busy, reserved or down (sinfo -R says why, squeue shows by whom)"),
    "NodeDown": Waiting("a node it needs is down (sinfo -R says why)"),
    "PartitionDown": Waiting("the partition is down; the site's administrators bring it up"),
    "PartitionInactive": Waiting("the partition starts no jobs now; the site's administrators change that"),
    "PartitionConfig": Waiting("nodes or limits of its partition do not fit it, or it is not looked at yet"),
    "PartitionTimeLimit": Waiting(
        "the partition does not allow so long a time; lower --time", hopeless=True, key="time"
    ),
    "PartitionNodeLimit": Waiting("the partition does not allow so many nodes, or too few are up; lower --nodes"),
    "BadConstraints": Waiting(
        "no node fits what is asked for; change --constraint, --gpus-per-node", hopeless=True, key="constraint"
    ),
    "InvalidAccount": Waiting("the account does not exist; change --account", hopeless=True, key="account"),
    "InvalidQOS": Waiting("the QOS does not exist, or is not yours; change --qos", hopeless=True, key="qos"),
    "DependencyNeverSatisfied": Waiting("what it depends on has failed", hopeless=True),
    "Dependency": Waiting("it waits for the jobs that it depends on"),
    "JobHeldUser": Waiting("it is held; scontrol release JOB lets it go"),
    "JobHeldAdmin": Waiting("it is held by an administrator, or could not be started; ask them"),
    "*launch failed*": Waiting("a node could not start it, and it is held; the log of slurmd there says why"),
    "JobLaunchFailure": Waiting("a node could not start it; the log of slurmd there says why"),
    "JobArrayTaskLimit": Waiting("as many tasks of its array run as slurm.array_limit allows"),
    "Licenses": Waiting("it waits for a license"),
    "Reservation": Waiting("its reservation has not begun"),
    "*Max*PerJob*": Waiting(
        "account or QOS allow a job less than this one asks for; ask for less", hopeless=True, key="limits"
    ),
    "*TimeLimit": Waiting("the account or QOS does not allow so long a time; lower --time"),
    "*Grp*": Waiting("your group uses all that its account or QOS allows; it begins as that becomes free"),
    "QOSMaxJobs*": Waiting("you run as many jobs as the QOS allows; it begins as one of them ends"),
    "AssocMaxJobs*": Waiting("you run as many jobs as the account allows; it begins as one of them ends"),
    "*PerUser*": Waiting("you use as much as the QOS allows one user; it begins as that becomes free"),
    "*JobLimit": Waiting("you run as many jobs as the account or QOS allows; it begins as one of them ends"),
    "Assoc*": Waiting("a limit of the account is reached"),
    "QOS*": Waiting("a limit of the QOS is reached"),
}


def waiting(reason: str) -> Waiting:
    """What it waits for; a reason that is not in the table speaks for itself."""
    bare = reason.strip("()")
    for pattern, found in _REASONS.items():
        if fnmatchcase(bare, pattern):
            return found
    return Waiting("")


def waiting_text(reason: str) -> str:
    """`Priority: jobs of higher priority are before it`."""
    found = waiting(reason or "None")
    return f"{reason}: {found.text}" if reason and found.text else reason or found.text
