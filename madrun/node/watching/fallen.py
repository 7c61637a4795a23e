"""A rank that has failed while others of its launch stay: they do not listen to what started them.

torchrun, accelerate and deepspeed send them SIGTERM and wait for half a minute. By then the others hold the devices and
the run waits, so the node's script is ended, with the grace period that the run gives.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

from madrun.node.ranks import parse_ends
from madrun.node.workspace import Workspace
from madrun.results.regular import NotRegular, open_regular
from madrun.spec.plan import JobPlan
from madrun.spec.record import UNCLASSIFIED, Failure, RankEnd

LAUNCHER_S = 0.7  # in which what started the ranks may end the others itself, and say so in its own words
_EVERY_S = 0.1
_ASKED = (-signal.SIGTERM, -signal.SIGINT)  # a script ends its servers so, and goes on when all have ended
_MOST = 1 << 16  # bytes of one rank's ends that are looked at


class Fallen:
    """Looks for ranks of this node that have ended; `look` is cheap enough for every few milliseconds."""

    def __init__(self, job: JobPlan, node: int, space: Workspace) -> None:
        self._ranks, self._node, self._folder = job.nproc_per_node, node, space.boxed_ranks
        self._off = job.nproc_per_node == 1 or _starts_again(job)
        self._looked = 0.0
        self._since: dict[str, float] = {}

    def look(self) -> Failure | None:
        """The failure of a rank whose launch is not over soon after."""
        now = time.monotonic()
        if self._off or now - self._looked < _EVERY_S:
            return None
        self._looked = now
        for launch, end in partly_failed(self._ends(), self._ranks).items():
            if now - self._since.setdefault(launch, now) >= LAUNCHER_S:
                text = f"rank {end.rank} failed on node {self._node}, and other ranks there did not end"
                code = end.exit_code if end.exit_code >= 0 else 128 - end.exit_code
                return Failure(kind=UNCLASSIFIED, text=text, node=self._node, exit_code=code)
        return None

    def _ends(self) -> Iterable[tuple[str, RankEnd]]:
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - names alone, many times a second
        except OSError:
            return
        for name in names:
            rank = name.removeprefix("rank-").removesuffix(".end")
            if not name.endswith(".end") or not rank.isdecimal():
                continue
            with suppress(OSError, NotRegular), open_regular(self._folder / name) as file:
                text = file.read(_MOST).decode("utf-8", "replace")
                yield from ((launch, end) for launch, end, _ in parse_ends(text, int(rank)))


def partly_failed(ends: Iterable[tuple[str, RankEnd]], ranks: int) -> dict[str, RankEnd]:
    """By launch the rank that failed first, of launches of which not all ranks here have ended.

    `ranks`: how many a launch has here that does not say so itself. One that may start its ranks again is left alone.
    """
    launches: dict[str, list[RankEnd]] = {}
    for launch, end in ends:
        launches.setdefault(launch, []).append(end)
    found = {}
    for launch, ended in launches.items():
        failed = [end for end in ended if end.exit_code not in (0, *_ASKED)]
        size = (*launch.split(".")[2:], "0")[0]
        if failed and not size.endswith("+") and len(ended) < (int(size) or ranks):
            found[launch] = min(failed, key=lambda end: (end.at, end.rank))
    return found


def _starts_again(job: JobPlan) -> bool:
    """Whether failed ranks may be started anew, so that a failure is none yet."""
    asked = any("max_restarts" in word.replace("-", "_") for word in job.runner_args)
    return bool(job.elastic) or asked or "PET_MAX_RESTARTS" in job.env  # torchrun reads PET_* in place of options
