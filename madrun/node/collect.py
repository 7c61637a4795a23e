"""What a run leaves on a node: files back to the user, samples out of log and CSV."""

from __future__ import annotations

from dataclasses import replace

from madrun.node import workspace as ws
from madrun.node.models import keep_models
from madrun.node.proof import with_transport
from madrun.node.ranks import keep_ranks, read_ranks, unended
from madrun.node.task import Task
from madrun.results.regular import readable
from madrun.results.samples import Reading, samples_of_log
from madrun.results.table import samples_of_csv
from madrun.runners import RUNNERS
from madrun.spec.mad import LogErrors
from madrun.spec.plan import JobPlan
from madrun.spec.record import NodeOutcome

_MOST_NAMES = 10


def collect(
    space: ws.Workspace,
    before: ws.Manifest,
    task: Task,
    outcome: NodeOutcome,
    stays: bool = False,
) -> NodeOutcome:
    """The outcome with samples, findings and notes.

    Of the places of the `multiple_results` file, the first that this run made counts. `stays`: the box is still in use,
    and is left as it is. Secrets are masked in what the ranks printed.
    """
    job, secrets = task.plan.job, tuple(task.secrets.values())
    results, log_errors = job.result_places, job.log_errors
    if space.box.exists():
        outcome = replace(outcome, notes=(*outcome.notes, *keep_ranks(space, secrets, stays)))
    outcome = with_transport(space, job, task.plan.node, outcome, secrets)
    first, notes = read_ranks(space.ranks)
    outcome = with_unended(space, job, replace(outcome, first_rank=first, notes=(*outcome.notes, *notes)))
    kept = ws.Kept()
    if space.box.exists():
        brought = [] if stays else keep_models(space.work, task.plan.node.cache)
        outcome = replace(outcome, notes=(*outcome.notes, *brought))
        kept = ws.keep_output(space, before, stays, whole=job.run_directory if task.keep_directory else "")
    findings = [*outcome.findings, *_few([_failed(space, *item) for item in kept.failed.items()])]
    dropped = _few([f"{readable(name)} is {kind} and is not kept" for name, kind in kept.special.items()])
    outcome = replace(outcome, findings=tuple(findings), notes=(*outcome.notes, *dropped))
    if not space.console.exists():
        return outcome
    readings = [samples_of_log(space.console, outcome.node)]
    if results and outcome.exit_code == 0:
        made = next((name for name in results if name in kept.names or name in kept.special), results[-1])
        readings.append(_read_csv(space, made, kept, before, (outcome.node, log_errors is not None)))
    if log_errors is not None:
        outcome = replace(outcome, log_errors=_errors_in(space, log_errors))
        if not any(reading.samples for reading in readings):
            readings.append(_of_trainer(space, outcome.node))
    return replace(
        outcome,
        samples=tuple(sample for reading in readings for sample in reading.samples),
        findings=(*outcome.findings, *(text for reading in readings for text in reading.findings)),
        notes=(*outcome.notes, *(text for reading in readings for text in reading.notes)),
    )


def with_unended(space: ws.Workspace, job: JobPlan, outcome: NodeOutcome) -> NodeOutcome:
    """Of a script that ended well, the ranks that did not: against the run where its runner would not have told."""
    if outcome.exit_code != 0:
        return outcome
    texts = tuple(unended(space.ranks))
    if RUNNERS[job.runner].deaf:
        return replace(outcome, findings=(*outcome.findings, *texts))
    return replace(outcome, notes=(*outcome.notes, *texts))


def _errors_in(space: ws.Workspace, rules: LogErrors) -> tuple[str, ...]:
    from madrun.results.mad.logerrors import errors_in

    return tuple(error.said(space.console.name) for error in errors_in(space.console, rules))


def _of_trainer(space: ws.Workspace, node: int) -> Reading:
    from madrun.results.mad.trainer import samples_of_trainer

    return samples_of_trainer(space.console, node)


def _read_csv(space: ws.Workspace, name: str, kept: ws.Kept, before: ws.Manifest, where: tuple[int, bool]) -> Reading:
    """The `multiple_results` file, only if this run made or changed it; one node's file is enough.

    `where`: the node, and whether the card is one of MAD.
    """
    node, mad = where
    if name in kept.special:
        return Reading(findings=(f"multiple_results: {name} is {kept.special[name]}, allowed: a regular file",))
    place = space.output / name
    if name in kept.names or place.is_dir():
        return samples_of_csv(place, node, mad)
    if kept.failed or node != 0:
        return Reading()  # a failure is a finding already, and says more than that nothing was made
    if name in before:
        text = f"{name} lay in the card's folder before the run and was not written by it"
    else:
        text = f"the script made no {name} in its working directory"
    return Reading(findings=(f"multiple_results: {text}",))


def _failed(space: ws.Workspace, name: str, reason: str) -> str:
    if name == "..":
        return f"{space.box} could not be removed: {reason}; remove it by hand"
    return f"{readable(space.work / name)} could not be moved to {space.output}: {reason}; it is still there"


def _few(texts: list[str]) -> list[str]:
    """At most ten of them, and how many more there are: a script may leave thousands."""
    more = len(texts) - _MOST_NAMES
    return [*texts[:_MOST_NAMES], f"{more} more of these"] if more > 0 else texts
