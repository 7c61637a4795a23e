"""What a provider is given to fetch data with, and whom it tells how far it has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from madrun.data.journal import Journal
from madrun.errors import DataError
from madrun.spec.credentials import Credentials
from madrun.spec.data import Fetch
from madrun.units import format_duration, format_size

NEWS_EVERY_S = 10.0


class Unreachable(DataError):
    """The provider cannot be had from here: the next one of the same data is tried."""


class Script(Protocol):
    """Runs the script of a provider where it finds its tools; exit code and the last lines of what it printed."""

    def __call__(self, fetch: Fetch, folder: Path, alive: Callable[[], None]) -> tuple[int, str]: ...


def _nothing(*_: object) -> None:
    """Nothing stands against it; nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the run has for its data. `check` raises where it is over; `env` is that of programs that are started."""

    check: Callable[[], None] = _nothing
    tell: Callable[[str], None] = _nothing
    credentials: Credentials = field(default_factory=Credentials)
    env: Mapping[str, str] = field(default_factory=dict)
    script: Script | None = None


class Progress:
    """Of one fetch into `state`, a hidden directory; data go to `data`. Threads may share it."""

    def __init__(self, name: str, state: Path, means: Means, claimed: Callable[[int], None]) -> None:
        self.means, self.name, self.state = means, name, state
        self.data = state / "data"
        self.limit_s = float("inf")
        self.over = False
        self._claimed, self._lock = claimed, threading.Lock()
        self.done = self.kept = 0
        self._began = self._told = time.monotonic()

    @cached_property
    def journal(self) -> Journal:
        """What earlier attempts have done of it, and what is added now."""
        return Journal(self.state / "journal")

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def keep(self, size: int) -> None:
        """So many bytes are here from an earlier attempt."""
        with self._lock:
            self.kept += size

    def add(self, size: int) -> None:
        """So many more bytes are here; raises where the run, the claim or the time is over, or `over` says so."""
        with self._lock:
            self.done += size
        if self.over:
            raise DataError("it has ended")
        self.alive()

    def alive(self) -> None:
        """Raises where the run, the claim or the time is over; tells how far it has come now and then."""
        self.means.check()
        self._claimed(self.done + self.kept)
        if self.seconds > self.limit_s:
            raise DataError(f"not done after {format_duration(self.limit_s)}, the time that it may take; {self.so_far}")
        with self._lock:
            late = time.monotonic() - self._told > NEWS_EVERY_S
            self._told = time.monotonic() if late else self._told
        if late:
            self.means.tell(f"fetching {self.name}: {self.so_far}")

    @property
    def so_far(self) -> str:
        """In words."""
        before = f", and {format_size(self.kept)} from an earlier attempt" if self.kept else ""
        return f"{format_size(self.done)} in {format_duration(self.seconds)}{before}"
