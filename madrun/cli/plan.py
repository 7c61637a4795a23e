"""`madrun plan`: the very object that `run` executes, for people or as JSON."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace

from madrun.cli.argv import CONTEXT_FLAGS, inline_context
from madrun.cli.leftout import why_skipped
from madrun.cli.prepare import Planned, prepare
from madrun.cli.request import Request, of_every_card
from madrun.cli.verdict import quoted
from madrun.errors import ExitCode
from madrun.planning.layers import parse_text
from madrun.registry.selection import LEFT_OUT
from madrun.runtimes.spelling import docker_argv
from madrun.spec.codec import to_json
from madrun.spec.masking import without_secrets
from madrun.spec.plan import Plan, sealed
from madrun.units import format_duration


def print_plans(request: Request, as_json: bool) -> int:
    """Prints a plan for each selected card and starts nothing; exit code 2 where one cannot be planned."""
    prepared = prepare(of_every_card(request), leave_out=True)
    if prepared.stop is not None:
        raise prepared.stop
    for one in prepared.left_out:
        sys.stderr.write(f"madrun: error: {one.reason}\n")
    if as_json:
        plans = [sealed(planned.plan) for planned in prepared.planned]
        sys.stdout.write(to_json(plans[0] if len(plans) == 1 else plans))
    else:
        for planned in prepared.planned:
            skipped = "" if request.saved else why_skipped(planned.card, request, prepared.facts.accelerator)
            note = (f"run leaves {planned.card.name} out: {skipped}",) if skipped else ()
            said = (text for text in planned.notes if not text.startswith(LEFT_OUT))  # told as an error above
            shown = replace(planned, notes=(*said, *note))
            sys.stdout.write("\n".join(plan_lines(shown, request)) + "\n")
    return int(ExitCode.USAGE if prepared.left_out else ExitCode.OK)


def plan_lines(planned: Planned, request: Request) -> list[str]:
    """The plan for people: job, node, environment, mounts, driver, and the line to type on each node."""
    plan = planned.plan
    job, node = plan.job, plan.node
    limit = format_duration(job.timeout_s) if job.timeout_s else "none"
    lines = [
        f"card      {job.card}  ({planned.card.source})",
        f"job hash  {plan.job_hash}",
        f"script    {job.script} {job.args}".rstrip() + f"  (files {job.script_hash[:12]}, time limit {limit})",
        f"nodes     {job.nnodes} x {job.nproc_per_node} ({job.vendor})",
        f"this node {node.node_rank} on {node.hostname}",
        *([f"gpus      {','.join(map(str, node.gpus))}"] if node.gpus else []),
        f"master    {node.master_addr} port {node.master_port}, control port {node.control_port}",
        f"runtime   {job.runtime}" + (f"  image {job.image.name} ({job.image.kind})" if job.in_container else ""),
        *(f"changed   {change.removeprefix('changed since: ')}" for change in planned.changes),
        *(f"note      {note}" for note in (*planned.notes, *node.notes)),
        "environment:",
        *(f"  {name}={value}" for name, value in _env(plan).items()),
        "mounts:",
        *(_mount_line(source, target, planned.filesystems) for source, target in _mounts(plan)),
        "metrics:",
        *_metric_lines(plan),
        "command:",
        *_wrapped(start_words(plan)),
        "driver ({run_dir}/node-%d/box/driver.sh):" % node.node_rank,  # noqa: UP031 - braces stand for themselves
        *(f"  {line}" for line in job.driver.splitlines()),
    ]
    if job.nnodes > 1:
        lines += ["type on each node:", *(f"  {line}" for line in node_commands(planned, request))]
    return lines


def _mount_line(source: str, target: str, filesystems: dict[str, str]) -> str:
    on = filesystems.get(source)
    return f"  {source} -> {target}" + (f"  [{on}]" if on else "")


def _env(plan: Plan) -> dict[str, str]:
    node = plan.node
    return node.container.env if node.container else node.process.env if node.process else {}


def _mounts(plan: Plan) -> list[tuple[str, str]]:
    container = plan.node.container
    if container is None:
        return [(path, f"{name} (as it is)") for name, path in plan.node.data_sources.items()]
    return [(mount.source, mount.target + (" (read only)" if mount.read_only else "")) for mount in container.mounts]


def _metric_lines(plan: Plan) -> list[str]:
    if not plan.job.metrics:
        return ["  none declared: at least one `performance:` line is needed"]
    return [
        f"  {name} {metric.unit}".rstrip()
        + f", across nodes: {metric.across_nodes}"
        + (" (primary)" if metric.primary else "")
        for name, metric in plan.job.metrics.items()
    ]


def start_words(plan: Plan) -> list[str]:
    """What starts the driver on this node: `docker run ...`, or the host's own bash."""
    node = plan.node
    if node.container is not None:
        return docker_argv(node.container)
    return list(node.process.command) if node.process else []


def _wrapped(words: list[str]) -> list[str]:
    """One option a line, so that the command can be read and still be copied."""
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--") and lines[-1]:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    texts = ["  " + " ".join(line) for line in lines]
    return [f"{text} \\" for text in texts[:-1]] + texts[-1:]


def node_commands(planned: Planned, request: Request) -> list[str]:
    """The command of this node with each NODE_RANK in its place; secrets are masked."""
    words = [word for word in request.command if word not in ("--dry-run", "--json")]
    words[1] = "run"
    ranks = range(planned.plan.job.nnodes)
    return [quoted(without_secrets(tuple(_with_rank(words, rank)), planned.secrets)) for rank in ranks]


def _with_rank(words: list[str], rank: int) -> list[str]:
    """The words with this NODE_RANK in the inline context that counts, which is added where there is none."""
    given = inline_context(words)
    if given is None:
        return [*words, CONTEXT_FLAGS[0], str({"multi_node_args": {"NODE_RANK": str(rank)}})]
    index, head = given
    return [*words[:index], head + _ranked(words[index].removeprefix(head), rank), *words[index + 1 :]]


def _ranked(text: str, rank: int) -> str:
    context = parse_text(text, CONTEXT_FLAGS[0])
    nested = context.get("multi_node_args", {})
    return str({**context, "multi_node_args": {**nested, "NODE_RANK": str(rank)}})
