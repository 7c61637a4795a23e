"""The repository at a commit, from its remote."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from madrun.backends.carry.there.base import Refused, folder_of, inside, make_own

GIT_S = 600
NOT_FOUND = 127  # env(1): there is no such program


def clone(request: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> dict[str, Any]:
    """The repository at a commit, from its remote: a bare clone that is kept, and a working tree for this launch."""
    folder = folder_of(request)
    make_own(folder)
    target, commit = inside(folder, request["to"]), request["commit"]
    store = folder / "git" / hashlib.sha256(request["url"].encode()).hexdigest()[:16]
    target.parent.mkdir(parents=True, exist_ok=True)
    store.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{store}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not store.is_dir():
            new = tempfile.mkdtemp(dir=str(store.parent), prefix="new-")
            try:
                git("clone", "--quiet", "--bare", "--", request["url"], new)
                os.rename(new, str(store))  # noqa: PTH104
            finally:
                shutil.rmtree(new, ignore_errors=True)
        there = ["--git-dir", str(store)]
        if git(*there, "cat-file", "-e", f"{commit}^{{commit}}", check=False):
            git(*there, "fetch", "--quiet", "--tags", request["url"], "+refs/heads/*:refs/heads/*")
        if git(*there, "cat-file", "-e", f"{commit}^{{commit}}", check=False):
            raise Refused(f"{request['url']} has no commit {commit[:12]}; push it, or set ssh.repository to copy")
        git(*there, "worktree", "prune")
        if not target.exists():
            git(*there, "worktree", "add", "--quiet", "--detach", str(target), commit)
    return {"done": True}


def git(*words: str, check: bool = True) -> int:
    """Its exit code; never a question to a terminal. Refused where it fails and that is not for the caller to see."""
    command = ["env", "GIT_TERMINAL_PROMPT=0", "git", "-c", "core.sshCommand=ssh -o BatchMode=yes", *words]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=GIT_S)
    except subprocess.TimeoutExpired:
        raise Refused(f"git took more than {GIT_S} s; set ssh.repository to copy") from None
    if done.returncode == NOT_FOUND:
        raise Refused("git is not installed; install it, or set ssh.repository to copy")
    if check and done.returncode:
        raise Refused(f"git: {'; '.join(done.stderr.strip().splitlines()[-2:])}")
    return done.returncode
