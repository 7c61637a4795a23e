"""What the driver told of the steps around a script of a MAD repository: which failed, and how long the script ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from madrun.node.steps import Step
from madrun.node.timings import Timings
from madrun.planning.mad.command import POST, PRE, SCRIPT, STEP_LIMIT_S
from madrun.spec.plan import JobPlan
from madrun.spec.record import Failure, NodeOutcome
from madrun.units import format_duration

_READ_ONLY = "Read-only file system"
_LATE = 124  # as the driver reports a step that took too long


def failed_before(job: JobPlan, seen: Mapping[str, Step]) -> str:
    """Which pre-script ended the run, in words; empty where none did."""
    return next((_told(name, path, seen) for name, path in _of(PRE, job) if _code(name, seen)), "")


def failed_after(job: JobPlan, seen: Mapping[str, Step]) -> list[str]:
    """A finding for each post-script that failed."""
    return [_told(name, path, seen) for name, path in _of(POST, job) if _code(name, seen)]


def seconds(job: JobPlan, seen: Mapping[str, Step]) -> dict[str, float]:
    """Seconds of the script alone, and of what ran before and after it, by the container's clock where it has one."""
    found = {}
    for kind, names in ((PRE, _of(PRE, job)), (POST, _of(POST, job)), (SCRIPT, ((SCRIPT, ""),))):
        times = [_seconds(name, seen) for name, _ in names]
        if times and all(one is not None for one in times):
            found[kind if kind == SCRIPT else f"{kind}_scripts"] = sum(one for one in times if one is not None)
    return found


def hinted(failure: Failure | None, job: JobPlan) -> Failure | None:
    """The failure with a way out, where the script could not write into the checkout."""
    if failure is None or not job.run_directory or not any(_READ_ONLY in line for line in failure.last_lines):
        return failure
    text = "the checkout's folders are mounted read only; --additional-context \"{'checkout': 'copy'}\" gives copies"
    return replace(failure, text=f"{failure.text}\n{text}")


def with_steps(outcome: NodeOutcome, job: JobPlan, seen: Mapping[str, Step], timings: Timings) -> NodeOutcome:
    """The outcome with what failed after the script, and the script's own time; those of the others go to `timings`."""
    known = seconds(job, seen)
    own = known.pop(SCRIPT, None)
    for name, value in known.items():
        timings.add(name, value)
    outcome = replace(outcome, findings=(*outcome.findings, *failed_after(job, seen)))
    return outcome if own is None else replace(outcome, script_s=own)


def _of(kind: str, job: JobPlan) -> tuple[tuple[str, str], ...]:
    return tuple((name, path) for name, path in job.steps.items() if name.startswith(f"{kind}."))


def _code(name: str, seen: Mapping[str, Step]) -> int:
    step = seen.get(f"{name}.exit")
    return int(step.value) if step is not None and step.value.isdecimal() else 0


def _told(name: str, path: str, seen: Mapping[str, Step]) -> str:
    code = _code(name, seen)
    kind = "pre-script" if name.startswith(PRE) else "post-script"
    late = code == _LATE and (_seconds(name, seen) or 0.0) >= STEP_LIMIT_S - 1
    how = f"took longer than {format_duration(STEP_LIMIT_S)}" if late else f"ended with exit code {code}"
    return f"the {kind} {path} {how}"


def _seconds(name: str, seen: Mapping[str, Step]) -> float | None:
    begun, ended = seen.get(name), seen.get(f"{name}.exit")
    known = begun is not None and ended is not None and begun.at > 0 and ended.at > 0
    return ended.at - begun.at if known and begun and ended else None
