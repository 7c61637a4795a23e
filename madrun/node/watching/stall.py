"""When a run stands still: what counts as movement on one node, and what all nodes' silence means."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from madrun.node.workspace import Workspace
from madrun.spec.record import Failure
from madrun.units import format_duration

GAP_S = 5.0  # a look that comes so late was held up: by a paused or starved agent, which saw nothing meanwhile
_SPINS_PCT = 95.0  # a collective that waits keeps its GPU at 100 % and its memory at 0 %
_IDLE_PCT, _IDLE_PCT_PER_RANK = 5.0, 3.0  # of one core: launchers and watchdog threads poll while nothing happens
_NETWORK_FLOOR = 1 << 20  # bytes per second; the counters are the host's, which others use too
_DISK_FLOOR = 64 << 10
_MOST_FILES = 200
_CLEAR_S = 2.0  # nodes look once a second, each when it likes: what lies closer together is no order

Row = Mapping[str, "float | None"]


def moves(row: Row, ranks: int) -> bool:
    """Whether a row of telemetry shows work of the run; what could not be read shows none.

    A CPU that is busy counts unless a GPU of the same node spins: then ranks wait in a collective, and poll for it.
    """
    gpus = {name.partition("_")[0] for name in row if name.startswith("gpu")}
    busy = [(row.get(f"{gpu}_util_pct"), row.get(f"{gpu}_memory_activity_pct")) for gpu in gpus]
    if any(memory for _, memory in busy) or any(util and util < _SPINS_PCT for util, _ in busy):
        return True
    spins = any(util is not None and util >= _SPINS_PCT and memory == 0 for util, memory in busy)
    cpu = (row.get("run_cpu_pct") if "run_cpu_pct" in row else _of_the_host(row)) or 0.0
    if not spins and cpu > max(_IDLE_PCT, _IDLE_PCT_PER_RANK * ranks):
        return True
    return any((value or 0.0) > _floor(name) for name, value in row.items())


def _of_the_host(row: Row) -> float:
    """CPU of whoever it is, in per cent of one core: where the run's own cannot be seen, no run may end for that."""
    return (row.get("host_cpu_pct") or 0.0) * (os.cpu_count() or 1)


def _floor(column: str) -> float:
    if column.startswith("net_lo_"):
        return float("inf")  # what crosses no network costs its ranks CPU time, and everybody on the host uses it
    if column.startswith(("net_", "rdma_")):
        return _NETWORK_FLOOR
    return _DISK_FLOOR if column.startswith("run_disk_") else float("inf")


class LastKnown:
    """Rows in which the run's CPU time stands as it was last read: on a busy host it is not looked at in every row."""

    def __init__(self) -> None:
        self._cpu: float | None = None

    def fill(self, row: Row) -> Row:
        """The row; until the CPU time was read for the first time it stands as that of the host."""
        if row.get("run_cpu_pct") is not None:
            self._cpu = row["run_cpu_pct"]
        if "run_cpu_pct" not in row:
            return row
        return {**row, "run_cpu_pct": _of_the_host(row) if self._cpu is None else self._cpu}


class Traces:
    """Console, rank logs and the files of the work directory: whether any of them has changed."""

    def __init__(self, space: Workspace) -> None:
        self._places = (space.root, space.box / "ranks", space.work)
        self._console = space.console
        self._before: list[tuple[str, int, int]] = []

    def changed(self) -> bool:
        """Whether anything has changed since the last look."""
        now = [_state(self._console)]
        for place in self._places[1:]:
            now += _listing(place)
        changed, self._before = now != self._before, now
        return changed


def _listing(folder: Path) -> list[tuple[str, int, int]]:
    """State of what lies in the folder, one level deep; of a very large one only as much as costs little."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for _, entry in zip(range(_MOST_FILES), entries, strict=False):
                status = entry.stat(follow_symlinks=False)
                found.append((entry.path, status.st_size, status.st_mtime_ns))
    except OSError:
        return found
    return found


def _state(file: Path) -> tuple[str, int, int]:
    try:
        status = file.stat()
    except OSError:
        return "", 0, 0
    return str(file), status.st_size, status.st_mtime_ns if stat.S_ISREG(status.st_mode) else 0


class Idleness:
    """For how long nothing has moved here, as far as this process could see."""

    def __init__(self, now: float) -> None:
        self._since = self._seen = now

    def look(self, now: float, moved: bool) -> float:
        """Seconds since the last movement; a look that comes late sees what it missed as movement."""
        if moved or now - self._seen > GAP_S:
            self._since = now
        self._seen = now
        return now - self._since


def status(run: str, idle_s: float, ended: bool = False) -> dict[str, Any]:
    """What a node tells node 0 of this run."""
    return {"idle_s": round(idle_s, 1), "idle_run": run, "idle_ended": ended}


def stalled(board: Mapping[int, Mapping[str, Any]], run: str, nnodes: int, limit: float) -> Failure | None:
    """The failure of a run that stands still on every node; a node that has told nothing of this run works.

    Its culprit is the node that has stood still longest: the others wait, and followed.
    """
    told = {rank: board.get(rank, {}) for rank in range(nnodes)}
    if any(words.get("idle_run") != run or not _number(words.get("idle_s")) for words in told.values()):
        return None
    waiting = {rank: float(words["idle_s"]) for rank, words in told.items() if not words.get("idle_ended")}
    if not waiting or min(waiting.values()) < limit:
        return None
    first = max(waiting, key=lambda rank: (waiting[rank], -rank))
    where = f"on any of {nnodes} nodes" if nnodes > 1 else f"on node {first}"
    text = (
        f"nothing has moved {where} for {_said(min(waiting.values()))} (--stall-timeout "
        f"{_said(limit)}): no output, no new file, no work of CPU, GPU or network"
    )
    ended = sorted(set(told) - set(waiting))
    if ended:
        text += f"; ended already: node {', '.join(map(str, ended))}"
    longest = sorted(waiting.values())[-2:]
    if len(waiting) > 1 and longest[1] - longest[0] >= _CLEAR_S:
        text += f"; node {first} stood still first, {_said(waiting[first])} ago"
    elif len(waiting) > 1:
        text += "; which node stood still first cannot be told"
    return Failure(kind="stalled", text=text, node=first)


def _said(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 100 else format_duration(round(seconds))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
