"""`madrun ps`: all of madrun on this host, orphans marked."""

from __future__ import annotations

import os
import pwd
import socket
import sys
from typing import Any

from madrun.cli.launches import attended
from madrun.cli.tables import age, columns, many
from madrun.cli.which import registry
from madrun.node.seeing.census import Census, Contained, take
from madrun.node.seeing.presence import Resident
from madrun.spec.codec import to_json

_HEAD = ("RUN", "CARD", "NODE", "PHASE", "SINCE", "RUNTIME", "CONTAINER", "PID", "OWNER")
_BOXED = ("running", "kept alive")  # phases in which a container has to be there


def print_here(as_json: bool) -> int:
    """Prints what runs here; the exit code is 0 also where nothing does."""
    census = take(registry())
    if as_json:
        sys.stdout.write(to_json(document(census)))
        return 0
    rows = [*map(list, _rows(census)), *map(list, map(_launch_row, attended()))]
    sys.stdout.write("".join(f"{line}\n" for line in columns(_HEAD, rows)) if rows else "nothing of madrun runs here\n")
    for note in census.notes:
        sys.stderr.write(f"madrun: {note}\n")
    orphans = [found for found in census.containers if found.is_orphan]
    if orphans or census.leftovers:
        what = [many(len(orphans), "orphaned container")] if orphans else []
        what += [many(len(census.leftovers), "left-over process", "es")] if census.leftovers else []
        sys.stderr.write(
            f"madrun: {', '.join(what)}: madrun stop RUN ends those of a run, madrun gc --yes all of yours\n"
        )
    return 0


def _rows(census: Census) -> list[tuple[str, ...]]:
    kept = {(resident.run_id, resident.rank) for resident in census.agents}
    rows = [_agent_row(census, resident) for resident in census.agents]
    rows += [_container_row(found) for found in census.containers if (found.run_id, found.rank) not in kept]
    for left in census.leftovers:
        phase = "left over"
        rows.append((left.run_id, "", str(left.rank), phase, "", "process", "", str(left.pid), owner_of(os.getuid())))
    return rows


def _launch_row(resident: Resident) -> tuple[str, ...]:
    owner = owner_of(resident.uid)
    run, nodes, since, pid = resident.run_id, f"all/{resident.nnodes}", age(resident.since), str(resident.pid)
    return (run, resident.card, nodes, resident.phase, since, f"by {resident.runtime}", "", pid, owner)


def _agent_row(census: Census, resident: Resident) -> tuple[str, ...]:
    node = f"{resident.rank}/{resident.nnodes}"
    phase = resident.phase or "begin"
    container = _container_text(census, resident)
    pid, owner = str(resident.pid), owner_of(resident.uid)
    run = "waiting" if resident.waits else resident.run_id
    return (run, resident.card, node, phase, age(resident.since), resident.runtime, container, pid, owner)


def _container_text(census: Census, resident: Resident) -> str:
    """The container's name, with its state where that is another than running; `gone` where it ought to be there."""
    found = census.container_of(resident)
    if found is not None:
        return found.name if found.state in ("running", "") else f"{found.name} ({found.state})"
    asked = resident.runtime in census.engines
    return "gone" if resident.container and asked and resident.phase in _BOXED else ""


def _container_row(found: Contained) -> tuple[str, ...]:
    phase = f"orphan ({found.state})" if found.is_orphan else f"{found.state} (agent {found.agent})"
    owner = owner_of(found.owner) if found.owner is not None else ""
    since = age(found.created)
    return (found.run_id, found.card, str(found.rank), phase, since, found.engine, found.name, "", owner)


def owner_of(uid: int) -> str:
    """The user's name, or the number of one who has none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def document(census: Census) -> dict[str, Any]:
    """What `--json` prints: agents, containers, processes that were left over, attended launches, notes."""
    agents = []
    for resident in census.agents:
        found = census.container_of(resident)
        agents.append(
            {
                "run_id": None if resident.waits else resident.run_id,
                "id": resident.run_id,
                "card": resident.card,
                "node": resident.rank,
                "nnodes": resident.nnodes,
                "phase": resident.phase or "begin",
                "since": resident.since,
                "phase_since": resident.phase_at or None,
                "runtime": resident.runtime,
                "container": resident.container or None,
                "container_state": found.state if found else None,
                "pid": resident.pid,
                "uid": resident.uid,
                "owner": owner_of(resident.uid),
                "folder": resident.folder or None,
            }
        )
    return {
        "host": socket.gethostname(),
        "agents": agents,
        "containers": [_container_document(found) for found in census.containers],
        "processes": [
            {"run_id": left.run_id, "node": left.rank, "pid": left.pid, "command": left.command}
            for left in census.leftovers
        ],
        "launches": [_launch_document(resident) for resident in attended()],
        "notes": list(census.notes),
    }


def _launch_document(resident: Resident) -> dict[str, Any]:
    return {
        "launch_id": resident.run_id,
        "cards": resident.card,
        "backend": resident.runtime,
        "nnodes": resident.nnodes,
        "since": resident.since,
        "pid": resident.pid,
        "uid": resident.uid,
        "owner": owner_of(resident.uid),
        "folder": resident.folder,
    }


def _container_document(found: Contained) -> dict[str, Any]:
    return {
        "run_id": found.run_id,
        "node": found.rank,
        "card": found.card,
        "id": found.id,
        "name": found.name,
        "engine": found.engine,
        "state": found.state,
        "created": found.created or None,
        "uid": found.owner,
        "owner": owner_of(found.owner) if found.owner is not None else None,
        "agent": found.agent,
        "orphan": found.is_orphan,
        "folder": str(found.folder) if found.folder else None,
    }
