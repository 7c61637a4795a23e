"""Commit of a checkout and whether it has changes that no commit holds."""

from __future__ import annotations

import subprocess
from pathlib import Path

from madrun.spec.facts import GitState


def state(folder: Path) -> GitState:
    """Empty where git is missing, the folder is in no checkout, or git takes more than 10 s."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return GitState()
    return GitState(commit=commit.strip(), dirty=bool(changes.strip()))


def _git(folder: Path, *words: str) -> str:
    # A shared checkout is often another user's; reading its commit is harmless.
    # Without its locks git does not write to the index either.
    command = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-C", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, stdin=subprocess.DEVNULL)
    return done.stdout
