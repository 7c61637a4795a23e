"""Started as a program: runs a command as a child subreaper, and ends with every descendant of it.

    python -I -S supervisor.py WATCH_FD COMMAND...

Descendants that left their session or process group are handed to this process by the kernel
(prctl(2), PR_SET_CHILD_SUBREAPER), so none can hide. When WATCH_FD ends (its writer is gone) the command gets
a few seconds to end by itself, for its own lease has ended as well; then everything is killed. A byte on
WATCH_FD means: at once.
Standard library only: this file also runs without the package around it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
OWN_LEASE_S = 3.0
KILL_S = 10.0
_TICK_S = 0.2


def main() -> int:
    """Exit code of the command; 137 when it was killed here."""
    watch = int(sys.argv[1])
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    command = subprocess.Popen(sys.argv[2:], preexec_fn=_default_signals)
    code = _until_end(command.pid, watch, wake_read)
    _kill_descendants()
    return 137 if code is None else code


def _default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _until_end(pid: int, watch: int, wake: int) -> int | None:
    deadline: float | None = None
    watched = [wake, watch]
    while True:
        code = _reap(pid)
        if code is not None:
            return code
        if deadline is not None and time.monotonic() > deadline:
            return None
        ready, _, _ = select.select(watched, [], [], _TICK_S)
        if wake in ready:
            os.read(wake, 4096)
        if watch in ready:
            if os.read(watch, 1):
                return None
            watched = [wake]
            deadline = time.monotonic() + OWN_LEASE_S


def _reap(pid: int) -> int | None:
    """Collects ended descendants; the exit code of `pid` once it is among them."""
    code = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if not ended:
            return code
        if ended == pid:
            value = os.waitstatus_to_exitcode(status)
            code = value if value >= 0 else 128 - value


def _kill_descendants() -> None:
    """Kills until no child is left; those of killed parents become children of this process."""
    deadline = time.monotonic() + KILL_S
    while time.monotonic() < deadline:
        for pid in _descendants():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)
    left = " ".join(map(str, _descendants()))
    sys.stderr.write(f"madrun supervisor: these processes may not be killed by this user: {left}\n")


def _descendants() -> list[int]:
    parents = {pid: parent for pid, parent in map(_parent, Path("/proc").glob("[0-9]*")) if pid}
    found: list[int] = []
    level = {os.getpid()}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level}
        found += level
    return found


def _parent(entry: Path) -> tuple[int, int]:
    """(pid, parent's pid); (0, 0) for a process that has gone meanwhile."""
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(entry.name), int(fields[1])


if __name__ == "__main__":
    sys.exit(main())
