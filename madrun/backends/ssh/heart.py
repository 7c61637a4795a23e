"""The leases of all nodes of a launch: beats, signals and ends on the standard input of what runs there."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType

from madrun.backends.head import Head
from madrun.spec.launch import ASKED, BEAT_S

_LOOK_S = 0.05  # how soon a signal is passed on
_ENOUGH = 3  # signals: whoever sends so many waits for nothing any more


class Heart:
    """Beats in a thread of its own, so that a terminal that takes nothing stops no beat.

    Each signal that comes here is passed on to all nodes; after the third the connections are ended too.
    """

    def __init__(self, children: Sequence[subprocess.Popen[bytes]], head: Head, beat_s: float = BEAT_S) -> None:
        self._children, self._head, self._beat_s = children, head, beat_s
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._passed_on = 0
        for child in children:
            assert child.stdin is not None
            os.set_blocking(child.stdin.fileno(), False)  # where a network is cut, nothing may wait for it
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        self.end(self._children)

    def end(self, children: Sequence[subprocess.Popen[bytes]]) -> None:
        """Ends these leases: what runs there ends in order."""
        with self._lock:
            for child in children:
                with suppress(OSError):
                    _ = child.stdin and child.stdin.close()

    def _run(self) -> None:
        beaten = time.monotonic() - self._beat_s
        while not self._done.wait(_LOOK_S):
            signals, now = self._head.count, time.monotonic()
            if signals == self._passed_on and now - beaten < self._beat_s:
                continue
            letters = letter_of(self._head.reason) * (signals - self._passed_on)
            self._say(f"{letters}\n".encode())
            self._passed_on, beaten = signals, now
            if signals >= _ENOUGH:
                self.end(self._children)
                for child in self._children:
                    child.kill()
                return

    def _say(self, data: bytes) -> None:
        with self._lock:
            for child in self._children:
                if child.stdin is not None and not child.stdin.closed:
                    with suppress(OSError):  # it has ended, or takes nothing now
                        os.write(child.stdin.fileno(), data)


def letter_of(reason: str) -> str:
    """The letter of a lease for the signal that a reason names, as `interrupted by SIGINT`; T for any other."""
    return next((letter for letter, name in ASKED.items() if name in reason.split()), "T")
