"""What a user reads at the end of a run."""

from __future__ import annotations

import shlex
from dataclasses import replace

from madrun.cli.shownpath import shown_path
from madrun.node.blame import EXAMINED
from madrun.node.ended import Ended
from madrun.spec.plan import Plan
from madrun.spec.record import MetricResult, Record
from madrun.units import format_duration

_HINTS = {
    "image": "see node-{node}/build.log in the run directory",
    "timeout": "give more time with --timeout, or look at where it stood",
}
_MOST_RANKS = 16


def verdict_lines(ended: Ended, plan: Plan, command: tuple[str, ...], said: tuple[str, ...]) -> list[str]:
    """The verdict block: metrics of a valid run, or one culprit, its last lines, the log, and how to run again.

    Notes in `said` were shown before the run and are not repeated.
    """
    job = plan.job
    size = f"{job.nnodes} node{'s' if job.nnodes > 1 else ''} x {job.nproc_per_node}"
    where = f"{size}  {job.runtime}  {format_duration(ended.outcome.script_s)}"
    run = shown_path(ended.run.path)
    warning = [f"  warning: {ended.warning}"] if ended.warning else []
    if ended.exit_code == 0 and ended.status != "SKIPPED":
        lines = [f"SUCCESS {job.card}  {where}"]
        lines += _metric_lines(ended.record) if ended.record else ["  the record is on node 0"]
        shown_before = (*plan.node.notes, *said)
        notes = ended.record.notes if ended.record else ()
        lines += _transport_lines(ended.record)
        shown_before += ended.record.transport.warnings if ended.record and ended.record.transport else ()
        lines += [f"  note: {note}" for note in notes if note not in shown_before]
        return [*lines, *warning, f"  {run}"]
    if ended.status == "SKIPPED":
        return [f"SKIPPED {job.card}  {where}", *(f"  {reason}" for reason in ended.reasons), *warning, f"  {run}"]
    head = f"FAILURE {job.card}  {where}"
    return [
        head,
        *_failure_lines(ended),
        *_transport_lines(ended.record),
        *warning,
        f"  log: {_log(ended)}",
        f"  again: {quoted(command)}",
    ]


def _log(ended: Ended) -> str:
    """The culprit's console where it lies in this run directory and holds something, else the run directory."""
    node = ended.culprit.node if ended.culprit else ended.outcome.node
    console = ended.run.node(node) / "console.log"
    return shown_path(console if console.is_file() and console.stat().st_size else ended.run.path)


def quoted(command: tuple[str, ...]) -> str:
    """The command as people write it: double quotes around a word that holds single ones."""
    return " ".join(
        f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word) for word in command
    )


def _metric_lines(record: Record) -> list[str]:
    metrics = sorted(record.metrics, key=lambda metric: not metric.primary)
    names = [f"{metric.model} {metric.metric}".strip() for metric in metrics]
    width = max(map(len, names), default=0)
    return [f"  {name:<{width}}  {_value(metric)}" for name, metric in zip(names, metrics, strict=True)]


def _transport_lines(record: Record | None) -> list[str]:
    """What the ranks talked over, and what must be known of it though nobody excluded it."""
    transport = record.transport if record is not None else None
    if transport is None:
        return []
    line = [f"  transport  {transport.text}"] if transport.text else []
    return [*line, *(f"  warning: {text}" for text in transport.warnings)]


def _partial_lines(record: Record) -> list[str]:
    """The rows that stand though others of the same file have no number."""
    standing = replace(record, metrics=tuple(metric for metric in record.metrics if not metric.missing))
    return ["  the other rows stand:", *_metric_lines(standing)] if standing.metrics else []


def _value(metric: MetricResult) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{metric.text}{unit}{'  (primary)' if metric.primary else ''}"


def _failure_lines(ended: Ended) -> list[str]:
    culprit = ended.culprit
    if culprit is None:
        partial = _partial_lines(ended.record) if ended.record and ended.record.partial else []
        return [*(f"  invalid: {reason}" for reason in ended.reasons), *partial]
    first, *rest = culprit.text.splitlines() or [""]
    lines = [f"  {culprit.kind}: {first}", *(f"  {line}" for line in rest)]
    if culprit.kind in _HINTS:
        lines.append(f"  {_HINTS[culprit.kind].format(node=culprit.node)}")
    lines += _standing(ended)
    if culprit.last_lines and culprit.kind != "interrupted":  # they only complain of being ended, as was asked for
        rank = f"rank {culprit.rank}, " if culprit.rank is not None else ""
        lines.append(f"  last lines of {rank}node {culprit.node}:")
        lines += [f"    {line}" for line in culprit.last_lines]
    return lines


def _standing(ended: Ended) -> list[str]:
    """Where each rank of a run stood that was ended, on the nodes whose evidence lies here, and where all of it is."""
    if ended.culprit is None or ended.culprit.kind not in EXAMINED:
        return []
    lines = []
    for folder in sorted(ended.run.path.glob("node-*/evidence"), key=lambda path: int(path.parent.name[5:])):
        node = folder.parent.name[5:]
        try:
            told = (folder / "ranks.txt").read_text(errors="replace").splitlines()
        except OSError:
            told = ["its processes could not be seen from here"]
        lines += [f"  node {node} {line}" for line in told[:_MOST_RANKS]]
        if len(told) > _MOST_RANKS:
            lines.append(f"  node {node}: {len(told) - _MOST_RANKS} more in ranks.txt")
        lines.append(f"  evidence: {shown_path(folder)}")
    return lines


def timing_lines(seconds: dict[str, float]) -> list[str]:
    """Where the time went, phase by phase."""
    total = sum(seconds.values())
    lines = [f"  {name:<8} {value:8.3f} s" for name, value in seconds.items()]
    return ["timings:", *lines, f"  {'total':<8} {total:8.3f} s"]
