"""One case as a `madrun run` of its own: started, kept alive by beats, ended by signals, and its records found."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from madrun.node.task import Interrupt
from madrun.results.rundir import RUNS, read_record
from madrun.spec.launch import BEAT_S, CASE, LEASE
from madrun.spec.record import Record

_LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """`words` of `madrun run`; `tag` is what its records say of the case. `lock` is held for as long as it lives."""

    words: tuple[str, ...]
    cwd: str
    tag: str
    lock: int
    out: int | None = None


def run_child(start: Start, interrupt: Interrupt, env: Mapping[str, str]) -> tuple[int, float]:
    """Its exit code (negative for a signal that ended it) and seconds.

    It is in a session of its own, so that one Ctrl-C reaches it once: by us. It ends when we do, whatever ends us.
    """
    began = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "madrun", "run", *start.words],
        cwd=start.cwd,
        env={**env, CASE: start.tag, LEASE: "stdin"},
        stdin=subprocess.PIPE,
        stdout=start.out,
        pass_fds=(start.lock,),
        start_new_session=True,
    )
    passed, beaten = 0, began
    while True:
        try:
            return child.wait(_LOOK_EVERY_S), time.monotonic() - began
        except subprocess.TimeoutExpired:
            pass
        while passed < interrupt.count:
            child.send_signal(_ending())
            passed += 1
        if time.monotonic() - beaten > BEAT_S:
            beaten = time.monotonic()
            _beat(child)


def _ending() -> signal.Signals:
    """A child of a shell's background ignores what Ctrl-C sends, and hands that down."""
    return signal.SIGTERM if signal.getsignal(signal.SIGINT) == signal.SIG_IGN else signal.SIGINT


def _beat(child: subprocess.Popen[bytes]) -> None:
    """Renews its lease; a child that is about to end may not read any more."""
    assert child.stdin is not None
    try:
        os.write(child.stdin.fileno(), b"\n")
    except OSError:
        return


class Records:
    """The records of a suite's runs as they come: each run directory is looked at until it has its record."""

    def __init__(self, results: Path, known: bool = True) -> None:
        """Runs that are `known`, as they are here already, are of no interest; else all are searched."""
        self._runs = results / RUNS
        self._done = set(self._names()) if known else set()

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._runs)  # noqa: PTH208 - names alone, of what may be many thousands
        except FileNotFoundError:
            return []

    def of(self, tag: str) -> list[Record]:
        """Those of the attempt with this tag, oldest first."""
        return [record for record in self.all() if record.provenance.get("case") == tag]

    def all(self) -> list[Record]:
        """Those that have come since, oldest first. No directory is read again once its record is known."""
        found = []
        for name in sorted(set(self._names()) - self._done):
            record = read_record(self._runs / name)
            if not isinstance(record, Record):
                continue
            self._done.add(name)
            found.append(record)
        return found
