"""What an agent is given: the plan, where its files go, and who listens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from madrun.runtimes.images.policy import Policy
from madrun.spec.credentials import Credentials
from madrun.spec.facts import HostFacts
from madrun.spec.plan import Plan
from madrun.spec.record import Failure, Gate

if TYPE_CHECKING:  # `madrun status` has an Interrupt, and plans nothing
    from madrun.planning.explain import Explained
    from madrun.runtimes.images import Prepared

IMPATIENT = 2  # signals: the first ends the run, the second also the bringing home of its files


class Reporter(Protocol):
    """Whoever shows a run to a person; every call returns at once."""

    def phase(self, name: str) -> None:
        """The run has come to this phase."""

    def line(self, text: str) -> None:
        """One line of news."""

    def follow(self, console: Path) -> None:
        """Show this log as it grows."""

    def unfollow(self) -> None:
        """The log is complete: show the rest of it."""


@dataclass(frozen=True, slots=True)
class MadeAhead:
    """An image that another run of the command had begun to make, and the log of it."""

    future: Future[Prepared]
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One run on one node. `engine` is a client of the container engine, None for the process runtime.

    `gate`: what was found out when the nodes joined. `keep_alive`: the container stands on after its script, until
    whoever waits for it returns. `keep_directory`: the directory in which the script ran is kept whole. `skip_script`:
    all is made ready, and the script is not started. `image_then`, `clone_then`: what the image of a repeated run was
    known by, and the commit that it cloned; empty where there is none or nobody knows. `unmeasured`: who asked that
    this run need not measure anything. `launch`: `ssh:ID` where it is part of one, else empty. `images`: what is asked
    of the image beyond having it; `ahead` gives the one of this name that is being made since before the run.
    `credentials` and `host_env`: for the programs and servers that provide data, never written.
    """

    plan: Plan
    index: int
    results: Path
    secrets: dict[str, str]
    facts: HostFacts
    files: dict[str, Path]
    image_context: dict[str, Path]
    lock_dir: Path
    engine: Any
    command: tuple[str, ...]
    provenance: Callable[[], dict[str, str]]
    notes: tuple[str, ...] = ()
    explained: tuple[Explained, ...] = ()
    keep_alive: bool = False
    image_then: str = ""
    clone_then: str = ""
    keep_directory: bool = False
    skip_script: bool = False
    gate: Gate | None = None
    unmeasured: str = ""
    launch: str = ""
    images: Policy = field(default_factory=Policy)
    ahead: Callable[[str], MadeAhead | None] = lambda _name: None
    credentials: Credentials = field(default_factory=Credentials)
    host_env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def stage(self, name: str) -> str:
        """Name of a stage of this run on the control channel."""
        return f"{self.index}/{name}"


class Stopped(Exception):
    """This node cannot go on; holds why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Interrupt:
    """Set by a signal; the number of signals says how patient the user still is."""

    def __init__(self) -> None:
        self.count = 0
        self.reason = ""
        self.event = threading.Event()

    def set(self, reason: str) -> None:
        """One more signal has come."""
        self.count += 1
        self.reason = self.reason or reason
        self.event.set()

    def check(self, rank: int) -> None:
        """Raises `Stopped` once a signal has come to this node."""
        if self.event.is_set():
            raise Stopped(Failure(kind="interrupted", text=f"{self.reason} on node {rank}", node=rank))
