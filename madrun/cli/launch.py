"""Starts a launch, shows what its node 0 prints, and ends with its exit code."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from madrun.backends.launchfolder import LaunchFolder, files_of
from madrun.backends.table import RUNS, backend_of
from madrun.cli.launching import Asked, Made, Words, asked_of, make_launch
from madrun.cli.signals import catch_signals
from madrun.errors import UsageError
from madrun.node.task import Interrupt
from madrun.spec.validation import did_you_mean


class Terminal:
    """The command's own streams as a backend sees them (`backends.head.Head`)."""

    def __init__(self, interrupt: Interrupt) -> None:
        self._interrupt = interrupt
        self._lock = threading.Lock()

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

    def say(self, text: str) -> None:
        """A line of madrun's own."""
        self._write(2, f"madrun: {text}\n".encode())

    def show(self, data: bytes) -> None:
        """Standard output of node 0."""
        self._write(1, data)

    def tell(self, data: bytes) -> None:
        """Standard error of node 0."""
        self._write(2, data)

    def _write(self, stream: int, data: bytes) -> None:
        with self._lock:
            while data:
                data = data[os.write(stream, data) :]


def launch_run(words: Words, dry_run: bool) -> int:
    """`madrun run --on BACKEND`: the exit code of the launch."""
    if words[1].on is None:
        misplaced = ", ".join(words[1].misplaced(None))
        raise UsageError(f"found {misplaced} without --on; allowed with --on {', '.join(RUNS)}")
    asked = asked_of(*words)
    if asked.launch.on not in RUNS:
        hint = did_you_mean(asked.launch.on or "", RUNS)
        raise UsageError(
            f"--on: found {asked.launch.on!r}{hint}, allowed: {', '.join(RUNS)}; madrun render writes the files of "
            "compose and skypilot for you to start"
        )
    made = make_launch(asked)
    if dry_run:
        return show_files(made)
    return attend(made.folder(), asked.launch.detach)


def attend(folder: LaunchFolder, detach: bool = False) -> int:
    """Runs a launch that lies in its folder."""
    head = Terminal(catch_signals())
    return backend_of(folder.launch().backend).conduct(folder, head, detach)


def show_files(made: Made) -> int:
    """Prints every file that would be written, and writes none."""
    for name, text in {**files_of(made.launch), **made.rendered()}.items():
        sys.stdout.write(f"==> {name} <==\n{text}\n")
    return 0


def render(asked: Asked, to: str) -> int:
    """Writes the files of a launch into a new or empty folder, and starts nothing."""
    folder = Path(to).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--to: found {to}, which is no empty folder; allowed: a new or an empty one")
    made = make_launch(asked, folder)
    made.folder()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        sys.stdout.write(f"{Path(to) / path.relative_to(folder)}\n")
    return 0
