"""Whether a run still goes on, by the locks of its agents and the signs of life in its directory."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from madrun.node.seeing.board import ALIVE_EVERY_S
from madrun.node.seeing.presence import LOCK, Resident, State, read, state_of
from madrun.results.rundir import PLAN
from madrun.results.survey import Look, node_folders

Going = Literal["finished", "running", "silent", "dead"]
_HEARD_S, _BEGINNING_S = 3 * ALIVE_EVERY_S, 60.0
DAY_S = 86400.0


def keepers(run: Path) -> Iterator[tuple[int, State, Resident | None]]:
    """Of each node that is here: rank, what has become of its agent, and who that is."""
    for rank, folder in node_folders(run):
        lock = folder / LOCK
        yield rank, state_of(lock), read(lock)


def going(look: Look, now: float | None = None) -> Going:
    """How far a run has come. `silent`: it was another host's, and nothing shows from here that it still goes on."""
    now = time.time() if now is None else now
    if look.record is not None or (look.ended is not None and not look.is_node_0s):
        return "finished"
    states = {state for _, state, _ in keepers(look.path)}
    heard = look.heard_at is not None and abs(now - look.heard_at) < _HEARD_S
    if states & {"alive", "unknown"} or (heard and "elsewhere" in states):
        return "running"
    if "elsewhere" in states:
        return "silent"
    begins = not (look.path / PLAN).exists() and abs(now - look.path.stat().st_mtime) < _BEGINNING_S
    return "running" if begins else "dead"


def is_over(look: Look, now: float | None = None) -> bool:
    """Whether nobody can need what lies in the directory for a run that goes on, on this host or on another.

    A lock of another host cannot be looked at through every file system: it counts as held for a day.
    """
    now = time.time() if now is None else now
    states = {state for _, state, _ in keepers(look.path)}
    if states & {"alive", "unknown"} or going(look, now) == "running":
        return False
    return "elsewhere" not in states or now - last_touched(look.path) > DAY_S


def last_touched(run: Path) -> float:
    """When anything of a run was last written: telemetry is once a second, also on a node that is not node 0.

    Later than any time where that cannot be told.
    """
    try:
        folders = [folder for _, folder in node_folders(run)]
        places = [run, *folders, *(place for folder in folders for place in folder.iterdir())]
        return max(place.lstat().st_mtime for place in places)
    except OSError:
        return math.inf  # something moves there just now, or may not be seen by this user
