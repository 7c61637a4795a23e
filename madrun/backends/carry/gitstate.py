"""What git says of the repository on the launching host."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_LIMIT_S = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """`commit`: empty outside of a checkout. `dirty`: with changes that no commit holds. `url`: of its remote, without
    a password: nodes have credentials of their own.

    `below`: the folder's path within the checkout, empty at its top.
    """

    commit: str = ""
    dirty: bool = False
    url: str = ""
    below: str = ""


def checkout_of(folder: Path) -> Checkout:
    """The state of the checkout that the folder is in; empty where it is in none, or there is no git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return Checkout()
    remote = (_git(folder, "remote").splitlines() or [""])[0]
    if "origin" in _git(folder, "remote").splitlines():
        remote = "origin"
    return Checkout(
        commit=commit,
        dirty=bool(_git(folder, "status", "--porcelain", "--untracked-files=no")),
        url=_bare(_git(folder, "remote", "get-url", remote)) if remote else "",
        below=_git(folder, "rev-parse", "--show-prefix").strip("/"),
    )


def _bare(url: str) -> str:
    """Of a web address no user and password: they would show on the nodes' command lines."""
    return re.sub(r"^(https?://)[^/]*@", r"\1", url)


def _git(folder: Path, *words: str) -> str:
    # A shared checkout is often another user's; reading its commit is harmless. Without its locks git writes nothing.
    command = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
