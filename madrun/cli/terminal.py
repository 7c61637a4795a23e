"""The streams of a command that shows what another host prints."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping

from madrun.cli.outlet import Outlet
from madrun.node.task import Interrupt

_TICK_S = 0.2
_GIVE_UP_S = 1.0


class Terminal:
    """Standard output and error as a backend sees them (`backends.head.Head`).

    Who writes waits for a reader that is slow, so that memory stays flat; after a signal only for a second. A reader
    that has gone is no error.
    """

    def __init__(self, interrupt: Interrupt, out: int = 1, err: int = 2) -> None:
        self._interrupt = interrupt
        self._lock = threading.Lock()
        self._out, self._err = Outlet(out), Outlet(err)

    @property
    def stop(self) -> threading.Event:
        """Set once a signal came."""
        return self._interrupt.event

    @property
    def reason(self) -> str:
        """Which signal it was, in words."""
        return self._interrupt.reason

    @property
    def count(self) -> int:
        """How many signals came."""
        return self._interrupt.count

    @property
    def env(self) -> Mapping[str, str]:
        """That of this process."""
        return os.environ

    def say(self, text: str) -> None:
        """A line of madrun's own."""
        self._write(self._err, f"madrun: {text}\n".encode("utf-8", "replace"))

    def show(self, data: bytes) -> None:
        """Standard output of node 0."""
        self._write(self._out, data)

    def tell(self, data: bytes) -> None:
        """Standard error of node 0."""
        self._write(self._err, data)

    def _write(self, outlet: Outlet, data: bytes) -> None:
        with self._lock:
            outlet.put(data)
            waited = 0.0
            while not outlet.flush(_TICK_S) and not outlet.mute:
                waited = waited + _TICK_S if self._interrupt.event.is_set() else 0.0
                if waited >= _GIVE_UP_S:
                    outlet.mute = True
