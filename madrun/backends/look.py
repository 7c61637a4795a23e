"""How far a launch has come, and what its nodes printed, as its folder says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from madrun.backends.aside import STARTED, console_of
from madrun.backends.head import Head
from madrun.backends.launchfolder import ATTENDANT, LaunchFolder
from madrun.backends.state import LaunchPhase, LaunchState, NodeState, Which
from madrun.backends.tail import start_of_last
from madrun.errors import UsageError
from madrun.locks import is_held
from madrun.spec.launch import BROUGHT_HOME

# Events of the journal: `results` of node 0, as HOST:PATH, where they are to come home; what is `left` on the nodes.
PREPARED, CLEARED = "prepared", "cleared"
_YOUNG_S = 30.0  # so long after its folder was made its attendant may still be about to begin
_TICK_S = 0.2
_CHUNK = 1 << 16


def state_of(folder: LaunchFolder) -> LaunchState:
    """What the journal says, and whether anybody still writes it."""
    events = folder.events()
    nodes = tuple(_nodes(events))
    left = tuple(_left(events))
    ended = next((event for event in reversed(events) if event.get("event") == "ended"), None)
    if ended is not None:
        return LaunchState(
            phase="ended",
            reason=str(ended.get("why", "")),
            exit_code=int(ended.get("exit_code", 1)),
            nodes=nodes,
            left=left,
        )
    started = any(event.get("event") == STARTED for event in events)
    phase: LaunchPhase = "running" if started else "preparing"
    if is_held(folder.path / ATTENDANT) or _is_young(folder, events):
        return LaunchState(phase=phase, nodes=nodes)
    reason = "its attendant was killed; what ran on its nodes has ended with it"
    return LaunchState(phase="lost", reason=reason, nodes=nodes, left=left)


def _left(events: list[dict[str, Any]]) -> Iterator[str]:
    """What was told in the end; where nobody told anything, what was prepared and has not come home."""
    said = {event.get("event"): event for event in events}
    if CLEARED in said:
        yield from map(str, said[CLEARED].get("left", ()))
    elif BROUGHT_HOME not in said and (place := said.get(PREPARED, {}).get("results")):
        yield str(place)


def _is_young(folder: LaunchFolder, events: list[dict[str, Any]]) -> bool:
    return not events and abs(time.time() - folder.path.stat().st_mtime) < _YOUNG_S


def _nodes(events: list[dict[str, Any]]) -> Iterator[NodeState]:
    hosts: list[Any] = next((event.get("hosts", []) for event in events if event.get("event") == STARTED), [])
    codes = {event.get("rank"): event.get("exit_code") for event in events if event.get("event") == "node ended"}
    for rank, host in enumerate(hosts):
        yield NodeState(rank, str(host), f"ended ({codes[rank]})" if rank in codes else STARTED)


def show_log(folder: LaunchFolder, head: Head, which: Which) -> int:
    """Writes what a node printed to standard output, with `follow` until the launch has ended."""
    file = _file(folder, which)
    while not file.exists():
        over = not which.follow or state_of(folder).phase in ("ended", "lost")
        if over and not file.exists():  # looked at again: it may have come, and the end with it
            raise UsageError(f"node {which.node} has printed nothing: {file} is not there")
        if head.stop.wait(_TICK_S):
            return 0
    with file.open("rb") as source:
        if which.lines is not None:
            source.seek(start_of_last(source, which.lines))
        while True:
            goes_on = which.follow and not head.stop.is_set() and state_of(folder).phase in ("preparing", "running")
            while data := source.read(_CHUNK):
                head.show(data)
            if not goes_on:
                return 0
            head.stop.wait(_TICK_S)


def _file(folder: LaunchFolder, which: Which) -> Path:
    """Of node 0 all that the command showed where it went to a file, so errors before the start too."""
    nnodes = folder.launch().nnodes
    if not 0 <= which.node < nnodes:
        raise UsageError(f"--node: found {which.node}, allowed: 0 to {nnodes - 1}, the nodes of the launch")
    return (console_of(folder) if which.node == 0 else None) or log_of(folder, which.node)


def log_of(folder: LaunchFolder, rank: int) -> Path:
    """Where what a node prints is kept on the launching host."""
    return folder.path / f"node-{rank}.log"
