"""The verdict: outcomes of all nodes in, a record out. SUCCESS means measured, complete and plausible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from madrun.errors import ExitCode
from madrun.results.aggregate import MEASURED, aggregate
from madrun.results.samples import repeated
from madrun.spec.plan import JobPlan, Plan
from madrun.spec.record import FORMAT, Check, Failure, Gate, NodeOutcome, Record
from madrun.spec.transport import RunTransport

USAGE_KINDS = frozenset({"image", "engine", "data", "rdma", "set-up"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What the record says of a run besides its outcome. `unmeasured`: who asked that nothing be measured, and how."""

    run_id: str
    started_at: str
    ended_at: str
    command: tuple[str, ...]
    backend: str
    notes: tuple[str, ...]
    provenance: dict[str, str]
    gate: Gate | None = None
    unmeasured: str = ""


def judge(plan: Plan, facts: RunFacts, outcomes: Sequence[NodeOutcome], culprit: Failure | None) -> Record:
    """The record of a run that has ended; `culprit` is the first failure in time, None where nothing failed."""
    job = plan.job
    samples = [sample for outcome in outcomes for sample in outcome.samples]
    results, metric_checks, notes = aggregate(samples, job.metrics, job.nnodes)
    network_checks, network_notes, transport = _network(job, outcomes, culprit)
    checks = [*_node_checks(outcomes, job.nnodes), *network_checks, *metric_checks]
    skipped = _why_skipped(checks, outcomes, culprit, facts.unmeasured)
    if skipped:
        checks = [check for check in checks if check.passed]
    failed = [check for check in checks if not check.passed]
    reasons = [skipped] if skipped else _reasons(failed, outcomes, culprit)
    valid = not reasons
    return Record(
        format=FORMAT,
        run_id=facts.run_id,
        card=job.card,
        status="SUCCESS" if valid else "SKIPPED" if skipped else "FAILURE",
        valid=valid,
        reasons=tuple(reasons),
        exit_code=int(exit_code(valid or bool(skipped), culprit)),
        started_at=facts.started_at,
        ended_at=facts.ended_at,
        plan_hash=plan.job_hash,
        madrun=plan.madrun,
        command=facts.command,
        tags=job.tags,
        args=job.args,
        runner=job.runner,
        runtime=job.runtime,
        backend=facts.backend,
        nnodes=job.nnodes,
        nproc_per_node=job.nproc_per_node,
        vendor=job.vendor,
        metrics=tuple(results),
        checks=tuple(checks),
        nodes=tuple(outcomes),
        culprit=culprit,
        notes=(
            *facts.notes,
            *(facts.gate.notes if facts.gate else ()),
            *_node_notes(outcomes),
            *network_notes,
            *(f"an error in the log: {text}" for text in _log_errors(outcomes)),
            *notes,
            *repeated(samples),
        ),
        timings=dict(outcomes[0].timings) if outcomes else {},
        provenance=facts.provenance,
        gate=facts.gate,
        skew_s=_skew(outcomes, facts.gate),
        transport=transport,
        partial=culprit is None and bool(failed) and all(check.one_row for check in failed),
    )


def _network(
    job: JobPlan, outcomes: Sequence[NodeOutcome], culprit: Failure | None
) -> tuple[tuple[Check, ...], tuple[str, ...], RunTransport | None]:
    """Checks, notes and summary of what the ranks talked over; nothing of one node on which nobody spoke of it."""
    if job.nnodes == 1 and all(outcome.transport is None for outcome in outcomes):
        return (), (), None
    from madrun.results.transport import judge_transport

    judged = judge_transport(job, outcomes, culprit is None)
    warnings = judged.transport.warnings if judged.transport else ()
    return judged.checks, (*judged.notes, *warnings), judged.transport


def _why_skipped(
    checks: Sequence[Check], outcomes: Sequence[NodeOutcome], culprit: Failure | None, unmeasured: str
) -> str:
    """Why a run that went as it was asked to has no number: no script, or none that measures; empty for all others."""
    if culprit is not None:
        return ""
    if outcomes and all(outcome.skipped for outcome in outcomes):
        return outcomes[0].skipped
    names = {check.name for check in checks if not check.passed}
    return f"not measured: {unmeasured}" if unmeasured and names == {MEASURED} else ""


def _reasons(failed: Sequence[Check], outcomes: Sequence[NodeOutcome], culprit: Failure | None) -> list[str]:
    """What stands against the run, the culprit first; an error in the log where nothing else was found in it."""
    reasons = [_sentence(check) for check in failed]
    if culprit is not None:
        first = culprit.text.partition("\n")[0]
        reasons.insert(0, f"{culprit.kind}: {first}" if first else culprit.kind)
    elif any(check.name == MEASURED for check in failed):
        reasons += [f"the log has an error: {text}" for text in _log_errors(outcomes)]
    return reasons


def _log_errors(outcomes: Sequence[NodeOutcome]) -> list[str]:
    """Lines of the logs that speak against the run, each with its node."""
    return [f"node {outcome.node}, {text}" for outcome in outcomes for text in outcome.log_errors]


def _skew(outcomes: Sequence[NodeOutcome], gate: Gate | None) -> float | None:
    """Seconds between the first and the last node's start, by node 0's clock; None where a clock is not known."""
    offsets = gate.offsets_s if gate is not None else {}
    starts = [(outcome.started_at, offsets.get(str(outcome.node))) for outcome in outcomes]
    known = [at - offset for at, offset in starts if at and offset is not None]
    return max(known) - min(known) if len(known) == len(starts) > 1 else None


def _node_notes(outcomes: Sequence[NodeOutcome]) -> list[str]:
    """What the engines refused and what the nodes have to say; what several say alike stands there once."""
    refused = [text for outcome in outcomes for text in outcome.deviations]
    said = [f"node {outcome.node}: {note}" for outcome in outcomes for note in outcome.notes]
    return list(dict.fromkeys((*refused, *said)))


def _node_checks(outcomes: Sequence[NodeOutcome], nnodes: int) -> list[Check]:
    checks = []
    present = {outcome.node: outcome for outcome in outcomes}
    for rank in range(nnodes):
        outcome = present.get(rank)
        if outcome is None:
            checks.append(Check(name=f"node {rank} reported", passed=False, text=f"nothing came from node {rank}"))
            continue
        ended = outcome.exit_code == 0 and outcome.end_marker
        text = "" if ended else f"node {rank}: {_how_it_ended(outcome)}"
        checks.append(Check(name=f"node {rank} ended with exit code 0 and its end marker", passed=ended, text=text))
        checks += [
            Check(name=f"node {rank}", passed=False, text=f"node {rank}: {finding}") for finding in outcome.findings
        ]
    return checks


def _how_it_ended(outcome: NodeOutcome) -> str:
    if outcome.exit_code is None:
        return "the script did not end by itself" if outcome.started_at else "the script was not started"
    return f"exit code {outcome.exit_code}" + ("" if outcome.end_marker else ", no end marker")


def _sentence(check: Check) -> str:
    return check.text or check.name


def exit_code(valid: bool, culprit: Failure | None) -> ExitCode:
    """What the command ends with for this run, on every node."""
    if culprit is not None and culprit.kind == "interrupted":
        return ExitCode.INTERRUPTED
    if culprit is not None and culprit.kind == "internal":
        return ExitCode.INTERNAL
    if culprit is not None and culprit.kind in USAGE_KINDS:
        return ExitCode.USAGE
    return ExitCode.OK if valid else ExitCode.RUN_FAILED
