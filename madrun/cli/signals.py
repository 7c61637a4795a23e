"""Signals that end a command in order."""

from __future__ import annotations

import signal
from types import FrameType

from madrun.node.lease import end_of_lease
from madrun.node.task import Interrupt

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def catch_signals() -> Interrupt:
    """From now on a signal ends the run in order instead of the process at once."""
    interrupt = Interrupt()

    def caught(number: int, _frame: FrameType | None) -> None:
        interrupt.set(end_of_lease() or f"interrupted by {signal.Signals(number).name}")

    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup asked for that
            signal.signal(number, caught)
    return interrupt
