"""CPU and memory of a process and all that descend from it, for runs that share a cgroup with others."""

from __future__ import annotations

import os
import time
from pathlib import Path

from madrun.probe.telemetry.cgroup import RUN_COLUMNS
from madrun.probe.telemetry.counters import Rate, scaled

_SHARE = 0.002  # of the time between two looks that a look may take: a host may have thousands of processes
_RAREST_S = 10.0  # whoever asks whether a run stands still must hear of its work in time
_PARENT, _TIMES, _RESIDENT = 1, slice(11, 15), 21  # places behind the name in /proc/PID/stat


class Processes:
    """Descendants of one process. CPU: 100 is one core. Memory: resident, what they share counted for each.

    On a host with so many processes that a look takes long, it looks less often; in between the values are None.
    """

    columns: tuple[str, ...] = RUN_COLUMNS

    def __init__(self, pid: int, root: Path) -> None:
        self._pid = pid
        self._proc = str(root / "proc")
        self._rate = Rate()
        self._next = 0.0
        self._tick = 1 / os.sysconf("SC_CLK_TCK")
        self._page = os.sysconf("SC_PAGE_SIZE")

    def read(self, at: float) -> tuple[float | None, float | None]:
        if at < self._next:
            return None, None
        started = time.thread_time()
        rows = family(self._pid, table(self._proc))
        self._next = at + min((time.thread_time() - started) / _SHARE, _RAREST_S) - 0.5
        if not rows:
            return None, None
        # the time of children that were waited for is in their parent's: the sum does not fall when one ends
        seconds = sum(sum(map(int, row[_TIMES])) for row in rows.values()) * self._tick
        return scaled(self._rate.of(seconds, at), 100), float(
            sum(int(row[_RESIDENT]) for row in rows.values()) * self._page
        )

    def close(self) -> None:
        return


def table(proc: str = "/proc") -> dict[int, list[str]]:
    """Of every process of this host the words of its stat file behind its name: state, parent, ..."""
    found = {}
    for name in os.listdir(proc):  # noqa: PTH208 - a hot path: names alone
        if not name.isdecimal():
            continue
        try:
            with open(f"{proc}/{name}/stat", "rb") as file:  # noqa: PTH123 - as above
                text = file.read()
        except OSError:
            continue  # it has ended meanwhile
        words = text[text.rfind(b")") + 1 :].decode("ascii", "replace").split()
        if len(words) > _RESIDENT:
            found[int(name)] = words
    return found


def family(pid: int, processes: dict[int, list[str]]) -> dict[int, list[str]]:
    """The process and its descendants; empty where it has ended."""
    children: dict[int, list[int]] = {}
    for child, words in processes.items():
        children.setdefault(int(words[_PARENT]), []).append(child)
    found: dict[int, list[str]] = {}
    level = [pid] if pid in processes else []
    while level:
        found |= {one: processes[one] for one in level}
        level = [child for one in level for child in children.get(one, ()) if child not in found]
    return found
