"""Why a script failed on this node: by its last lines, by the rank that failed first, and by what the kernel did."""

from __future__ import annotations

import errno
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from madrun.node.console import last_lines
from madrun.probe.memorykills import host_oom_kills
from madrun.results.regular import readable
from madrun.spec.plan import NodePlan
from madrun.spec.record import UNCLASSIFIED, Failure, NodeOutcome

if TYPE_CHECKING:
    from madrun.results.causes import Cause

_SIGNALS = range(129, 193)  # how a shell reports a signal: 128 + 1 to 64
EXAMINED = frozenset({"stalled", "timeout"})  # failures of runs that still stood: looked at before they were ended


_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.EFBIG}
)


def disk_failure(error: Exception, folder: Path, node: NodePlan) -> Failure | None:
    """In words where the host refused a file of the run's folder; None where that is not what happened."""
    if not isinstance(error, OSError) or error.errno not in _DISK:
        return None
    place = readable(error.filename or folder)
    text = f"{place} on {node.hostname}: {error.strerror}; free space or name another --results"
    return Failure(kind="disk", text=text, node=node.node_rank)


def script_failure(code: int, node: int) -> Failure:
    """That a script ended with this code, in words, and not yet why."""
    if code in _SIGNALS:
        text = f"the script was ended by signal {_signal(code - 128)} on node {node}"
    else:
        text = f"the script ended with exit code {code} on node {node}"
    return Failure(kind=UNCLASSIFIED, text=text, node=node, exit_code=code)


def _signal(number: int) -> str:
    """The number of a signal with its name, where it has one."""
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def remembered(outcome: NodeOutcome, told: str | None, alone: bool) -> NodeOutcome:
    """The outcome with what the driver told of processes that the kernel killed for memory.

    `alone`: the cgroup is that of this run's container; then it stands against the run, whatever the exit code says.
    """
    if told is None or not told.isdecimal():
        return outcome
    kills = int(told)
    outcome = replace(outcome, oom_kills=kills)
    if not kills:
        return outcome
    text = f"the kernel killed {kills} process{'es' if kills > 1 else ''} for want of memory (oom_kill)"
    if alone:
        return replace(outcome, findings=(*outcome.findings, f"{text} in the container"))
    return replace(
        outcome, notes=(*outcome.notes, f"{text} in the cgroup that this run shares with others of its user")
    )


def classified(failure: Failure | None, outcome: NodeOutcome, console: Path, ooms: float | None) -> Failure | None:
    """The failure of this node with class and last lines; `ooms` is what the host had counted when the script began.

    A rank that failed first speaks with its own lines, where its log is kept apart.
    """
    if failure is None:
        return None
    hint = _killed_on_host(outcome, ooms)
    if failure.kind == "node" and hint:
        failure = replace(failure, text=f"{failure.text}\n{hint}")
    if failure.kind in EXAMINED and outcome.exit_code is None:
        return failure  # its last lines were taken before its processes were ended
    first = outcome.first_rank
    if failure.kind != UNCLASSIFIED or first is None:
        failure = replace(failure, last_lines=last_lines(console))
    else:
        failure = replace(failure, rank=first.rank, last_lines=first.last_lines or last_lines(console))
    if failure.kind != UNCLASSIFIED:
        return failure
    from madrun.results import causes

    cause = _cause(failure, outcome, console)
    return causes.refined(failure, cause, hint if cause is not None and cause.kind == "killed" else "")


def _cause(failure: Failure, outcome: NodeOutcome, console: Path) -> Cause | None:
    """By the rank's own lines, else by all that was printed."""
    from madrun.results import causes

    first = outcome.first_rank
    if first is not None:
        code = first.exit_code if first.exit_code >= 0 else 128 - first.exit_code
        cause = causes.classify(first.last_lines, code, outcome.oom_kills)
        if cause is not None:
            return cause
    return causes.classify(last_lines(console, causes.LINES), failure.exit_code, outcome.oom_kills)


def _killed_on_host(outcome: NodeOutcome, before: float | None) -> str:
    """In words, where the kernel of this host has killed for memory what the run's own cgroup does not show."""
    now = host_oom_kills()
    if outcome.oom_kills or before is None or now is None or now <= before:
        return ""
    return (
        f"while it ran the kernel of {outcome.hostname} killed {int(now - before)} for want of memory, of this run "
        "or of others: its log (dmesg) names them"
    )
