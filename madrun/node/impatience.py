"""The wait of nodes for each other at the end of a run: said while it lasts, and ended by further signals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from madrun.node.channel.assembly import ranges
from madrun.node.joining.join import Party
from madrun.node.task import IMPATIENT, Interrupt, Reporter
from madrun.units import format_duration

ALONE = 3  # signals: the third ends the wait for nodes that do not come to the end
_LOOK_EVERY_S = 0.1
_NEWS_AFTER_S, _NEWS_EVERY_S = 5.0, 30.0


def waiting_for_others(party: Party, interrupt: Interrupt, reporter: Reporter) -> AbstractContextManager[None]:
    """While the body waits: the second signal ends what other nodes still bring to node 0, the third the wait for
    them; whom it waits for is said now and then."""
    steps, server = {ALONE: party.link.part}, party.server
    if server is not None and party.intake is not None:
        steps = {IMPATIENT: party.intake.stop, ALONE: server.part}

    def news(waited: float) -> None:
        ranks = server.awaited() if server is not None else [0]
        if ranks:
            reporter.line(
                f"waiting for node {ranges(ranks)} to come to the end of the run ({format_duration(waited)}); "
                "the third Ctrl-C ends the wait"
            )

    return impatient(interrupt, steps, news)


@contextmanager
def impatient(
    interrupt: Interrupt, steps: Mapping[int, Callable[[], None]], news: Callable[[float], None] = lambda _waited: None
) -> Iterator[None]:
    """While the body waits, each step is taken once as many signals have come as its number says.

    `news` is called with the seconds waited, after a while and then now and then.
    """
    over = threading.Event()
    left = dict(steps)
    started = time.monotonic()

    def watch() -> None:
        due = started + _NEWS_AFTER_S
        while not over.wait(_LOOK_EVERY_S):
            for number in [number for number in left if interrupt.count >= number]:
                left.pop(number)()
            if time.monotonic() > due:
                due += _NEWS_EVERY_S
                news(time.monotonic() - started)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()
