"""Starts a launch, shows what its node 0 prints, and ends with its exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from madrun.backends.launchfolder import ATTENDANT, PRIVATE_NAME, LaunchFolder, files_of
from madrun.backends.table import RUNS, UNATTENDED, backend_of
from madrun.cli.broughthome import add_rows, note_rows
from madrun.cli.launching import Asked, Made, Words, asked_of, make_launch
from madrun.cli.signals import catch_signals
from madrun.cli.terminal import Terminal
from madrun.cli.which import attendants
from madrun.errors import UsageError
from madrun.locks import is_held
from madrun.node.seeing.presence import Presence, myself, registered
from madrun.spec.launch import Launch
from madrun.spec.validation import did_you_mean
from madrun.units import format_size

_MOST_SHOWN = 1 << 20  # characters of a file that is printed
# What is to be typed once the files of a launch are written, in a shell.
_TO_START = {
    "ssh": "sh {to}/ssh.sh, where every host sees this folder and has madrun",
    "slurm": "sbatch {to}/job.sh",
    "kubernetes": "as the first lines of {to}/kubernetes.yaml say",
    "compose": "sh {to}/up.sh",
    "skypilot": "sh {to}/up.sh",
}


def launch_run(words: Words, dry_run: bool) -> int:
    """`madrun run --on BACKEND`: the exit code of the launch."""
    if words[1].on is None:
        misplaced = ", ".join(words[1].misplaced(None))
        takers = [backend for backend in RUNS if not words[1].misplaced(backend)] or RUNS
        raise UsageError(f"found {misplaced} without --on; allowed with --on {', '.join(takers)}")
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
    """Runs a launch that lies in its folder; rows of what it brings home are added to those that are here."""
    launch = folder.launch()
    if is_held(folder.path / ATTENDANT) or folder.has("ended"):
        raise UsageError(f"{folder.path}: this launch has its attendant, or has ended; type the command of a new one")
    backend = backend_of(launch.backend)
    head = Terminal(catch_signals())
    if detach:
        return backend.conduct(folder, head, detach=True)
    with _attending(folder, launch):
        code = backend.conduct(folder, head, detach=False)
        texts = list(add_rows(folder, launch))
        for text in texts:
            head.say(f"warning: {text}")
        note_rows(folder, launch, texts)
    return code


@contextmanager
def _attending(folder: LaunchFolder, launch: Launch) -> Iterator[None]:
    """Says who attends the launch for as long as the body runs: in its folder, and in the registry of this host."""
    _sweep()
    known = {"card": ", ".join(launch.cards), "nnodes": launch.nnodes, "runtime": launch.backend}
    resident = myself(run_id=launch.id, folder=str(folder.path), phase="attended", **known)
    presence = Presence(resident, folder.path / ATTENDANT, attendants() / f"{launch.id}.json")
    try:
        yield
    finally:
        presence.leave()


def _sweep() -> None:
    """What attendants have left that were killed: their entries, and values that were to be seen by nodes alone."""
    for resident, state, entry in registered(attendants()):
        if state == "dead":
            if resident.runtime not in UNATTENDED:
                LaunchFolder(Path(resident.folder)).forget_private()
            entry.unlink(missing_ok=True)


def show_files(made: Made) -> int:
    """Prints every file that would be written, and writes none; of what is private or large only its size."""
    for name, text in {**files_of(made.launch), **made.rendered()}.items():
        private = name.startswith(PRIVATE_NAME) or len(text) > _MOST_SHOWN
        shown = f"({format_size(len(text.encode()))}; madrun render writes it)\n" if private else text
        sys.stdout.write(f"==> {name} <==\n{shown}\n")
    return 0


def render(asked: Asked, to: str) -> int:
    """Writes the files of a launch into a new or empty folder, and starts nothing."""
    folder = Path(to).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--to: found {to}, which is no empty folder; allowed: a new or an empty one")
    made = make_launch(asked, folder)
    made.folder()
    for path in sorted(folder.iterdir()):
        sys.stdout.write(f"{Path(to) / path.name}{'/' if path.is_dir() else ''}\n")
    how = _TO_START[made.launch.backend].format(to=shlex.quote(str(Path(to))))
    sys.stderr.write(f"madrun: nothing was started; to start it: {how}\n")
    return 0
