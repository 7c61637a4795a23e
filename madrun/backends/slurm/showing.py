"""What the nodes of a job have printed, of a job that runs or has run."""

from __future__ import annotations

import time
from collections.abc import Callable

from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.slurm.attempt import JOB_LOG, latest
from madrun.backends.slurm.follow import TICK_S, Tail, tails_of
from madrun.backends.state import LaunchState, Which
from madrun.errors import UsageError

_ASK_S = 5.0


def show_logs(folder: LaunchFolder, head: Head, which: Which, state: Callable[[], LaunchState]) -> int:
    """Shows the last start of the job; 130 where a signal ended it. `UsageError` for a node that the launch has not."""
    launch = folder.launch()
    if which.node >= launch.nnodes:
        raise UsageError(f"--node: found {which.node}, allowed: 0 to {launch.nnodes - 1}")
    attempt = latest(folder.path)
    if attempt is None and not which.follow:
        return _nothing_yet(folder, head, state())
    if attempt is not None and which.lines is not None and not which.follow:
        for name, sink in (("out", head.show), ("err", head.tell)):
            sink(_last(_read(attempt.path / f"node-{which.node}.{name}"), which.lines))
        return 0
    return _follow(folder, head, which, state)


def _follow(folder: LaunchFolder, head: Head, which: Which, state: Callable[[], LaunchState]) -> int:
    number, tails, asked_at, over = -1, list[Tail](), float("-inf"), False
    while True:
        if (attempt := latest(folder.path)) is not None and attempt.number != number:
            number, tails = attempt.number, tails_of(attempt.path, head, which.node)
        for tail in tails:
            tail.pass_on()
        if over or not which.follow:
            return 0
        if time.monotonic() - asked_at >= _ASK_S or (attempt is not None and attempt.code is not None):
            asked_at, over = time.monotonic(), state().phase in ("ended", "lost")
        if not over and head.stop.wait(TICK_S):
            return 130


def _nothing_yet(folder: LaunchFolder, head: Head, state: LaunchState) -> int:
    head.tell(_read(folder.path / JOB_LOG))
    head.say(f"no node has printed anything: {state.phase}{f', {state.reason}' if state.reason else ''}")
    return 0


def _read(file: object) -> bytes:
    from pathlib import Path

    try:
        return Path(str(file)).read_bytes()
    except OSError:
        return b""


def _last(data: bytes, lines: int) -> bytes:
    return b"".join(data.splitlines(keepends=True)[-lines:]) if lines else b""
