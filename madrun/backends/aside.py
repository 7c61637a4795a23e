"""--detach: another madrun, in a session of its own, attends the launch when this one returns."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.errors import ExitCode

CONSOLE = "console.log"  # what the command would have shown
STARTED = "started"  # the event of the journal: something runs on every node
_TICK_S = 0.1
_CHUNK = 1 << 16


def detach(folder: LaunchFolder, head: Head, event: str = STARTED, done: str = "started on {nodes}") -> int:
    """0 once the attendant has noted this event; until then what it says is shown, and a signal here ends it.

    The exit code of the attendant where it ends before that. `done`: what is said then.
    """
    with (folder.path / CONSOLE).open("wb") as console:
        child = subprocess.Popen(
            [sys.executable, "-m", "madrun", "attend", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with (folder.path / CONSOLE).open("rb") as console:
        code = _follow_start(folder, head, child, (console, event))
    if code is not None:
        return code
    launch = folder.launch()
    nodes = f"{launch.nnodes} node{'s' * (launch.nnodes > 1)}"
    head.show(f"{launch.id}\n".encode())
    head.say(f"{done.format(nodes=nodes)}; madrun status, logs -f and stop know it by this id")
    child.returncode = 0  # it goes on without this process, which is not to complain of that
    return 0


def _follow_start(
    folder: LaunchFolder, head: Head, child: subprocess.Popen[bytes], until: tuple[BinaryIO, str]
) -> int | None:
    """None once the journal has the event."""
    (console, event), asked = until, 0
    while child.poll() is None:
        head.tell(console.read(_CHUNK))
        if head.count > asked:
            asked = head.count
            child.terminate()
        if not asked and folder.has(event):
            return None
        time.sleep(_TICK_S)
    head.tell(console.read())
    if folder.has(event) and not asked:
        return None  # and has ended since: status tells how
    return child.returncode if child.returncode >= 0 else int(ExitCode.INTERRUPTED if asked else ExitCode.INTERNAL)


def console_of(folder: LaunchFolder) -> Path | None:
    """What an attendant has printed; None where the launch was not detached."""
    file = folder.path / CONSOLE
    return file if file.exists() else None
