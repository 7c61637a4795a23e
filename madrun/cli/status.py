"""`madrun status`: how far a run has come, or how it ended."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from madrun.cli.again import again_of_record
from madrun.cli.launches import find_launch, print_launch
from madrun.cli.launchhome import bring_late
from madrun.cli.tables import age, clock, columns
from madrun.cli.verdict import quoted, verdict_lines
from madrun.cli.which import find_run, registry
from madrun.errors import ExitCode
from madrun.node.ended import Ended
from madrun.node.seeing.board import CONSOLE, look_at_log
from madrun.node.seeing.going import Going, going, keepers
from madrun.node.seeing.presence import registered
from madrun.results.rundir import PLAN, RunDir, Unreadable
from madrun.results.survey import Look, look, node_folders
from madrun.spec.codec import from_plain, to_json, to_plain
from madrun.spec.plan import Plan
from madrun.spec.record import Record
from madrun.spec.validation import Invalid
from madrun.units import format_duration, format_size

_HEAD = ("NODE", "HOST", "PHASE", "LAST LINE", "CONSOLE", "LAST METRIC")


def print_status(word: str, results: str, as_json: bool) -> int:
    """Prints it; 0 for a run that goes on or is valid, 3 for one that failed or died, 2 where there is no such run.

    The word may mean a launch too; what of it is over and not here yet is brought here first.
    """
    if (launch := find_launch(word, results)) is not None:
        bring_late(launch)
        return print_launch(launch, as_json)
    seen = look(find_run(word, results))
    state = going(seen)
    if as_json:
        sys.stdout.write(to_json(document(seen, state)))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(seen, state)))
    return _exit_code(seen, state)


def _exit_code(seen: Look, state: Going) -> int:
    if isinstance(seen.record, Record):
        valid = seen.record.valid
    elif seen.record is None and seen.ended is not None and not seen.is_node_0s:
        valid = seen.ended.get("exit_code") == 0
    else:
        valid = state == "running"
    return int(ExitCode.OK if valid else ExitCode.RUN_FAILED)


def _lines(seen: Look, state: Going) -> list[str]:
    if isinstance(seen.record, Record):
        return [seen.run_id, *_of_record(seen, seen.record)]
    if isinstance(seen.record, Unreadable):
        return [f"UNREADABLE {seen.run_id}", f"  {seen.path}/record.json: {seen.record.reason}"]
    if seen.ended is not None and not seen.is_node_0s:
        return _of_end(seen, seen.ended)
    if state == "running":
        since = seen.phases[0][1] if seen.phases else _since(seen)
        return [f"RUNNING {_title(seen)}  for {age(since)}", *_phases(seen, time.time()), *_nodes(seen), _place(seen)]
    return _of_dead(seen, state)


def _since(seen: Look) -> float:
    """When the agents of a node without a journal began."""
    return min((agent.since for _, _, agent in keepers(seen.path) if agent), default=seen.path.stat().st_mtime)


def _title(seen: Look) -> str:
    size = f"{seen.nnodes} node{'' if seen.nnodes == 1 else 's'} x {seen.nproc_per_node}"
    return f"{seen.run_id}  {size}  {seen.runtime}".rstrip()


def _place(seen: Look) -> str:
    return f"  {os.path.relpath(seen.path)}"


def _phases(seen: Look, until: float | None) -> list[str]:
    """Each phase with the time it began (UTC) and how long it took; of the last one only where it still goes on."""
    ends: list[float | None] = [at for _, at in seen.phases[1:]]
    ends.append(until)
    width = max((len(name or "begin") for name, _ in seen.phases), default=0)
    lines = []
    for (name, at), end in zip(seen.phases, ends, strict=False):
        took = format_duration(max(0.0, end - at)) if end else ""
        lines.append(f"  {clock(at)}  {name or 'begin':<{width}}  {took}".rstrip())
    return lines


def _nodes(seen: Look) -> list[str]:
    rows = [
        (
            str(node["node"]),
            str(node["host"] or ""),
            str(node["phase"] or ""),
            f"{format_duration(node['last_line_s'])} ago" if node["last_line_s"] is not None else "",
            format_size(node["console_bytes"]) if node["console_bytes"] is not None else "",
            str(node["metric"] or ""),
        )
        for node in node_documents(seen)
    ]
    return [f"  {line}" for line in columns(_HEAD, rows)] if rows else []


def node_documents(seen: Look) -> list[dict[str, Any]]:
    """What is known of each node: what node 0 heard last, and of those that are here what their files say now."""
    now = time.time()
    agents = {rank: resident for rank, _, resident in keepers(seen.path) if resident}
    agents |= {known.rank: known for known, _, _ in registered(registry()) if known.run_id == seen.run_id}
    here = dict(node_folders(seen.path))
    found = []
    for rank in sorted({*seen.hosts, *seen.status, *here}):
        status = seen.status.get(rank, {})
        agent = agents.get(rank)
        size, printed, metric = status.get("console_bytes"), status.get("printed_at"), _text(status.get("metric"))
        if rank in here and (console := look_at_log(here[rank] / CONSOLE)):
            size, printed, metric = console[0], console[1] if console[0] else None, console[2] or metric
        found.append(
            {
                "node": rank,
                "host": status.get("host") or (agent.host if agent else "") or seen.hosts.get(rank) or None,
                "phase": _text(status.get("phase")) or (agent.phase if agent else "") or None,
                "last_line_s": max(0.0, now - printed) if printed is not None and _is_number(printed) else None,
                "idle_s": status["idle_s"] if _is_number(status.get("idle_s")) else None,
                "console_bytes": size if isinstance(size, int) and size >= 0 else None,
                "metric": metric or None,
                "folder": str(here[rank]) if rank in here else status.get("folder"),
                "here": rank in here,
            }
        )
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e11


def _text(value: object) -> str:
    return "".join(letter for letter in value if letter.isprintable()) if isinstance(value, str) else ""


def _of_record(seen: Look, record: Record) -> list[str]:
    """The verdict as the run itself printed it, then every reason and note, then the logs."""
    outcome = next((node for node in record.nodes if node.node == 0), None)
    plan = _plan(seen)
    if plan is None or outcome is None:
        lines = [f"{record.status} {record.card}", *(f"  {reason}" for reason in record.reasons)]
    else:
        ended = Ended(
            exit_code=record.exit_code,
            run=RunDir(seen.path),
            outcome=outcome,
            record=record,
            culprit=record.culprit,
            reasons=record.reasons,
            status=record.status,
        )
        again = again_of_record(record.command, record.card, record.args)
        lines = verdict_lines(ended, plan, again, (*plan.node.notes,))
        shown = "\n".join(lines)
        lines += [f"  reason: {reason}" for reason in record.reasons if reason not in shown]
    said = "\n".join(lines)
    lines += [f"  note: {note}" for note in record.notes if note not in said]
    consoles = {rank: folder / CONSOLE for rank, folder in node_folders(seen.path)}
    lines += [
        f"  log of node {rank}: {os.path.relpath(file)}"
        for rank, file in consoles.items()
        if file.exists() and os.path.relpath(file) not in said
    ]
    return [*lines, f"  from {record.started_at} to {record.ended_at}"]


def _plan(seen: Look) -> Plan | None:
    try:
        plain = json.loads((seen.path / PLAN).read_text(encoding="utf-8"))
        plain.pop("checksum", None)
        return from_plain(Plan, plain)
    except (OSError, ValueError, AttributeError, Invalid):
        return None


def _of_end(seen: Look, ended: dict[str, Any]) -> list[str]:
    """On a node whose results are its own: what node 0 said."""
    code = ended.get("exit_code")
    head = "SUCCESS" if code == 0 else f"FAILURE (exit code {code})"
    lines = [f"{head} {_title(seen)}", *(f"  {reason}" for reason in _reasons(ended))]
    return [*lines, f"  the record is on node 0 ({seen.master})", _place(seen)]


def _reasons(ended: dict[str, Any]) -> list[str]:
    reasons = ended.get("reasons")
    return [_text(reason) for reason in reasons] if isinstance(reasons, list) else []


def _of_dead(seen: Look, state: Going) -> list[str]:
    heard = f", last heard of {age(_last_heard(seen))} ago" if _last_heard(seen) else ""
    lines = [f"UNFINISHED {_title(seen)}", f"  no record, and no living agent{heard}"]
    if state == "silent":
        hosts = sorted({agent.host for _, _, agent in keepers(seen.path) if agent})
        lines[1] = f"  no record, and its agents are those of {', '.join(hosts)}{heard}: ask there with madrun ps"
    elif not seen.is_node_0s:
        lines[1] = f"  this host's agent has ended{heard}; the record, if there is one, is on node 0 ({seen.master})"
    if seen.ended is not None:
        lines += [f"  another node said: {text}" for text in _reasons(seen.ended)]
    lines += [*_phases(seen, None), *_nodes(seen)]
    if seen.command:
        lines.append(f"  again: {quoted(seen.command)}")
    lines.append("  madrun gc shows what it left behind, madrun gc --yes removes that")
    return [*lines, _place(seen)]


def _last_heard(seen: Look) -> float | None:
    """The newest sign of life: of its files, which are older than any copy of them."""
    files = [seen.path / "journal.jsonl", *(folder / CONSOLE for _, folder in node_folders(seen.path))]
    times = [file.stat().st_mtime for file in files if file.exists()]
    return max([*times, *([seen.heard_at] if seen.heard_at else [])], default=None)


def document(seen: Look, state: Going) -> dict[str, Any]:
    """What `--json` prints; `record` is that of record.json, null until it is written."""
    broken = seen.record if isinstance(seen.record, Unreadable) else None
    return {
        "run_id": seen.run_id,
        "path": str(seen.path),
        "state": "unreadable" if broken else state,
        "exit_code": _exit_code(seen, state),
        "card": seen.card,
        "runtime": seen.runtime,
        "nnodes": seen.nnodes,
        "nproc_per_node": seen.nproc_per_node,
        "phases": [{"name": name or "begin", "at": at} for name, at in seen.phases],
        "last_heard": _last_heard(seen),
        "nodes": node_documents(seen),
        "ended": seen.ended,
        "record": to_plain(seen.record) if isinstance(seen.record, Record) else None,
        "error": broken.reason if broken else None,
    }
