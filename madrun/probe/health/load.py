"""Who else keeps the CPUs of this host busy: two looks at /proc/stat and at all processes (proc_stat(5))."""

from __future__ import annotations

import os

from madrun.probe.health import people
from madrun.probe.health.source import Source, Unreadable
from madrun.probe.telemetry.processes import family, table
from madrun.spec.health import Consumer, Load

_BETWEEN_S = 0.4
_LEAST_CPUS, _MOST_SHOWN = 0.2, 3
_TIMES = slice(11, 13)  # user and system time of the process itself, behind its name
_IDLE, _IOWAIT, _FIELDS = 3, 4, 8


def load(source: Source) -> Load:
    """CPUs that were busy for 0.4 s with anything but this process and what it started."""
    cpus, busy_before, processes_before = _look(source)
    seconds = source.wait(_BETWEEN_S)
    _, busy_after, processes_after = _look(source)
    tick = 1 / os.sysconf("SC_CLK_TCK")
    # one that was not there before has used all of its time since
    used = {pid: (ticks - processes_before.get(pid, 0)) * tick / seconds for pid, ticks in processes_after.items()}
    own = set(family(os.getpid(), table(str(source.root / "proc"))))
    others = sorted((pid for pid in used if pid not in own), key=lambda pid: -used[pid])
    busy = (busy_after - busy_before) * tick / seconds - sum(used.get(pid, 0.0) for pid in own)
    shown = [pid for pid in others[:_MOST_SHOWN] if used[pid] >= _LEAST_CPUS]
    return Load(
        cpus=cpus,
        busy=min(max(busy, 0.0), float(cpus)),
        consumers=tuple(
            Consumer(
                pid=pid,
                owner=people.owner(source, pid),
                command=people.command(source, pid),
                cpus=used[pid],
                container=people.container(source, pid),
            )
            for pid in shown
        ),
    )


def _look(source: Source) -> tuple[int, int, dict[int, int]]:
    """Number of CPUs, ticks that they were busy, and ticks of each process."""
    lines = source.text("proc/stat").splitlines()
    cpus = sum(line.startswith("cpu") and line[3:4].isdecimal() for line in lines)
    ticks = [int(word) for word in (lines[0] if lines else "").split()[1 : _FIELDS + 1] if word.isdecimal()]
    if not cpus or len(ticks) <= _IOWAIT:
        raise Unreadable("/proc/stat: not the kernel's format")
    try:
        processes = table(str(source.root / "proc"))
    except OSError as error:
        raise Unreadable(f"/proc: {error.strerror}") from None
    if not processes:
        raise Unreadable("/proc: no process is listed")
    busy = sum(ticks) - ticks[_IDLE] - ticks[_IOWAIT]
    return cpus, busy, {pid: sum(int(word) for word in row[_TIMES]) for pid, row in processes.items()}
