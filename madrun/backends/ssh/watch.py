"""What runs on the nodes until it has ended: node 0 is shown, the others are kept, and the exit code is found."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.ssh.heart import Heart
from madrun.errors import ExitCode
from madrun.spec.launch import BAD_HOSTS, JOINED, SILENCE_S, NodeStart

LOST = 255  # ssh(1): "exits with the exit status of the remote command or with 255 if an error occurred"
_TICK_S = 0.1
_CHUNK = 1 << 16
_ASIDE_S = 10.0  # so long is waited for what `started` does
_LOOK_S = 2.0  # how often it is looked whether all have joined
_NODE_0_S = 1.0  # so long node 0 may take to end by what ended another node before they joined
_LAST_WORDS_S = 3.0  # so long the others may go on when node 0 has ended
_KILL_S = 60.0  # then their connections end
_TAIL, _SHOWN = 1 << 13, 5
_SAID_BY_SSH = (
    "ssh",
    "Connection ",
    "Timeout",
    "client_loop",
    "mux_client",
    "kex_exchange",
    "Permission denied",
    "Host ",
)
_MADRUN = b"madrun: "  # whatever a login shell prints comes before a node has read its files
_BEGINNING = 1 << 20  # what a node prints until all have joined is far less


@dataclass(slots=True)
class Running:
    """The ssh that holds what runs on one node; `code` once it has ended. Only node 0 has pipes for its output."""

    start: NodeStart
    child: subprocess.Popen[bytes]
    log: Path
    code: int | None = None
    joined: bool = False

    @property
    def name(self) -> str:
        """As a user sees it."""
        return f"node {self.start.rank} ({self.start.host})"

    def last_lines(self) -> list[str]:
        """What it printed last."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            text = file.read().decode("utf-8", "replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()][-_SHOWN:]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code of the launch, and why it is that."""

    code: int
    why: str


class Watch:
    """Returns from `run` when all nodes have ended. `started` is called once, aside, when all have read their files."""

    def __init__(
        self, folder: LaunchFolder, running: Sequence[Running], head: Head, started: Callable[[], None]
    ) -> None:
        self._folder, self._running, self._head = folder, running, head
        self._started = threading.Thread(target=started, name="started", daemon=True)
        self._ended_at: dict[int, float] = {}
        self._early: Running | None = None
        self._looked_at = 0.0
        self._log = running[0].log.open("ab", buffering=0)
        self._selector = selectors.DefaultSelector()
        for pipe, show in ((running[0].child.stdout, head.show), (running[0].child.stderr, head.tell)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, show)

    def run(self) -> Outcome:
        """How the launch ended."""
        with Heart([one.child for one in self._running], self._head) as heart, self._log, self._selector:
            while any(one.code is None for one in self._running):
                self._copy(_TICK_S)
                self._reap()
                self._look_for_early_ends(heart)
                self._follow_node_0(heart)
                self._forget_private()
            self._copy(0)
        if self._started.ident is not None:
            self._started.join(_ASIDE_S)
        for pipe in (self._running[0].child.stdout, self._running[0].child.stderr):
            _ = pipe and pipe.close()
        return self._outcome()

    def _copy(self, wait_s: float) -> None:
        """Shows what has come from node 0; without pipes it only waits."""
        if not self._selector.get_map():
            time.sleep(wait_s)
            return
        for key, _ in self._selector.select(wait_s):
            pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
            if data := os.read(pipe.fileno(), _CHUNK):
                self._log.write(data)
                key.data(data)
            else:
                self._selector.unregister(pipe)

    def _reap(self) -> None:
        for one in self._running:
            if one.code is None and (code := one.child.poll()) is not None:
                if one.start.rank == 0:
                    self._drain()
                one.code = code
                self._ended_at[one.start.rank] = time.monotonic()
                self._note_joined(one)
                self._folder.journal("node ended", rank=one.start.rank, host=one.start.host, exit_code=code)
                if code == LOST and not self._head.stop.is_set():
                    self._note_lost(one)

    def _note_lost(self, one: Running) -> None:
        """What is said of node 0 comes last."""
        self._folder.journal(BAD_HOSTS, hosts={one.start.host: f"node lost: {_why(one)}"})
        if one.start.rank > 0:
            self._head.say(f"{one.name} was lost: {_why(one)}")

    def _drain(self) -> None:
        """All that node 0 has printed; a connection that is shared may hold the pipe open beyond its end."""
        while self._selector.get_map() and self._selector.select(0):
            self._copy(0)

    def _note_joined(self, one: Running) -> None:
        if not one.joined and one.start.rank > 0:
            one.joined = _has_said(one, JOINED.encode())

    def _look_for_early_ends(self, heart: Heart) -> None:
        """A node that ends before all have joined: node 0 cannot know, and would wait for it in vain."""
        if self._early is not None or self._head.stop.is_set() or self._running[0].code is not None:
            return
        early = [one for one in self._running[1:] if one.code is not None and not one.joined]
        if not early or time.monotonic() - self._ended_at[early[0].start.rank] < _NODE_0_S:
            return
        self._early = early[0]
        for line in early_lines(early):
            self._head.say(line)
        heart.end([one.child for one in self._running])

    def _follow_node_0(self, heart: Heart) -> None:
        """When node 0 has ended there is nothing left to do for the others."""
        left = [one.child for one in self._running if one.code is None]
        if left and 0 in self._ended_at:
            waited = time.monotonic() - self._ended_at[0]
            if waited > _LAST_WORDS_S:
                heart.end(left)
            if waited > _KILL_S:
                for child in left:
                    child.kill()

    def _forget_private(self) -> None:
        """Removes the secret values as soon as every node has read them."""
        if self._started.ident is None and time.monotonic() - self._looked_at > _LOOK_S:
            self._looked_at = time.monotonic()
            for one in self._running:
                if one.code is None and not one.joined:
                    self._note_joined(one)
            others = self._running[1:]
            if all(one.joined for one in others) if others else _has_said(self._running[0], _MADRUN):
                self._folder.forget_private()
                self._started.start()

    def _outcome(self) -> Outcome:
        first, early = self._running[0], self._early
        lost = first.code is None or first.code < 0 or first.code == LOST
        if self._head.stop.is_set() and lost:
            return Outcome(ExitCode.INTERRUPTED, self._head.reason)
        if early is not None:
            wrong = next((one for one in (ExitCode.USAGE, ExitCode.BAD_CONTEXT) if one == early.code), None)
            return Outcome(wrong or ExitCode.RUN_FAILED, f"{early.name} ended before all nodes had joined")
        if lost:
            why = f"{first.name} was lost: {_why(first)}"
            self._head.say(f"{why}; what ran there ends by itself after {SILENCE_S:g} s, within its grace period")
            return Outcome(ExitCode.RUN_FAILED, why)
        if first.code == ExitCode.INTERRUPTED and self._head.stop.is_set():
            return Outcome(ExitCode.INTERRUPTED, self._head.reason)
        if first.code == ExitCode.INTERRUPTED and (gone := [one for one in self._running if one.code == LOST]):
            why = f"{gone[0].name} was lost: {_why(gone[0])}"  # its lease ended, and all others with it
            return Outcome(ExitCode.RUN_FAILED, why)
        code = first.code if first.code in tuple(ExitCode) else ExitCode.RUN_FAILED
        return Outcome(int(code or 0), f"{first.name} ended with exit code {first.code}")


def _has_said(one: Running, what: bytes) -> bool:
    with one.log.open("rb") as file:
        return what in file.read(_BEGINNING)


def early_lines(early: Sequence[Running]) -> list[str]:
    """What is said of nodes that ended before all had joined; nodes that printed the same are told together."""
    groups: dict[tuple[str, ...], list[Running]] = {}
    for one in early:
        groups.setdefault((str(one.code), *one.last_lines()), []).append(one)
    lines = []
    for (code, *said), members in groups.items():
        names = ", ".join(one.name for one in members[:3])
        names += f" and {len(members) - 3} more" if len(members) > 3 else ""
        lines.append(f"{names} ended with exit code {code} before all nodes had joined:")
        lines += [f"  {line}" for line in said] or ["  (nothing was printed there)"]
    return lines


def _why(one: Running) -> str:
    """What ssh said of its end; the last line may be one of the node's own."""
    said = [line for line in one.last_lines() if line.startswith(_SAID_BY_SSH)]
    return f"ssh said: {said[-1]}" if said else "its connection has ended"
