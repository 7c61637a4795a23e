"""Ends a launch that runs inside of an allocation: its step alone."""

from __future__ import annotations

import time

from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.slurm.attempt import CANCELLED, latest
from madrun.backends.slurm.client import ask
from madrun.backends.slurm.follow import TICK_S
from madrun.backends.slurm.inside import step_of

_WAIT_S = 120.0


def stop_inside(folder: LaunchFolder, head: Head) -> int:
    """Tells the tasks of the step to end in order; 3 where they have not within two minutes."""
    step = step_of(folder)
    if not step:
        head.say("no step of it has begun; where its command waits, Ctrl-C ends it")
        return 3
    (folder.path / CANCELLED).touch()
    answer = ask(["scancel", "--signal=USR2", step])
    if answer.code:
        head.say(f"scancel: {answer.said}")
    limit = time.monotonic() + _WAIT_S
    while time.monotonic() < limit and not head.stop.is_set():
        attempt = latest(folder.path)
        if attempt is None or all(task.code is not None for task in attempt.tasks.values()):
            head.say(f"step {step} has ended")
            return 0
        time.sleep(TICK_S)
    head.say(f"step {step} still runs; scancel {step} kills it")
    return 3
