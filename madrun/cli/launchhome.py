"""What the attendant of a launch did not come to do, done when somebody asks for the launch: its results, its rows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from madrun.backends.launchfolder import LaunchFolder
from madrun.cli.broughthome import add_rows, is_run_of, note_rows, rows_are_due
from madrun.cli.launches import attendant_of
from madrun.cli.terminal import Terminal
from madrun.errors import MadrunError
from madrun.locks import locked
from madrun.node.task import Interrupt
from madrun.results.rundir import run_paths
from madrun.spec.launch import HOME_LOCK, Launch


def bring_late(folder: LaunchFolder) -> None:
    """Brings home what a launch left on its nodes when its madrun was killed, or the way was cut; adds its rows.

    Nothing is done while somebody attends it, and nothing twice. What came, and what did not and why, is said on
    standard error.
    """
    launch = folder.launch()
    head = Terminal(Interrupt())
    if not _is_due(folder, launch):
        return
    said: list[str] = []

    def waiting(seconds: float) -> None:
        if seconds > 1 and not said:
            said.append("another madrun brings its results home; waiting for that")
            head.say(f"{launch.id}: {said[0]}")

    try:
        with locked(folder.path / HOME_LOCK, waiting):
            if _is_due(folder, launch):
                _bring(folder, launch, head)
    except OSError as error:
        head.say(f"{launch.id}: {error.filename or folder.path}: {error.strerror}; its results are not brought home")


def _is_due(folder: LaunchFolder, launch: Launch) -> bool:
    return attendant_of(folder) is None and (_are_away(folder, launch) or rows_are_due(folder, launch))


def _are_away(folder: LaunchFolder, launch: Launch) -> bool:
    if launch.backend != "ssh":
        return False
    from madrun.backends.ssh.leftbehind import are_noted

    return are_noted(folder)


def _bring(folder: LaunchFolder, launch: Launch, head: Terminal) -> None:
    if _are_away(folder, launch):
        from madrun.backends.ssh import leftbehind

        folder.forget_private()
        for half in folder.path.glob("home-*"):  # of a madrun that was killed while it brought them
            shutil.rmtree(half, ignore_errors=True)
        try:
            names = leftbehind.bring_late(folder, _here(launch))
        except MadrunError as error:
            head.say(f"{error}; madrun status {launch.id} tries again")
            return
        head.say(f"brought home: {', '.join(names)}" if names else "nothing of it lies on its nodes")
    texts = list(add_rows(folder, launch))
    for text in texts:
        head.say(f"warning: {text}")
    note_rows(folder, launch, texts)


def _here(launch: Launch) -> Sequence[str]:
    """Runs of it that came here before."""
    return [path.name for path in run_paths(Path(launch.results)) if is_run_of(launch, path)]
