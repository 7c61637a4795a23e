"""Commit of a checkout and whether it has changes that no commit holds."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from madrun.spec.facts import GitState
from madrun.spec.launch import ORIGIN


def state(folder: Path) -> GitState:
    """Empty where git is missing, the folder is in no checkout, or git takes more than 10 s.

    Of a copy that a launch brought here it is that of the checkout on the launching host.
    """
    if (origin := _origin(folder)) is not None:
        return origin
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return GitState()
    return GitState(commit=commit.strip(), dirty=bool(changes.strip()))


def _origin(folder: Path) -> GitState | None:
    try:
        said = json.loads((folder.absolute().parent / ORIGIN).read_text(encoding="utf-8"))
        return GitState(commit=str(said["commit"]), dirty=bool(said["dirty"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _git(folder: Path, *words: str) -> str:
    # A shared checkout is often another user's; reading its commit is harmless.
    # Without its locks git does not write to the index either.
    command = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, stdin=subprocess.DEVNULL)
    return done.stdout
