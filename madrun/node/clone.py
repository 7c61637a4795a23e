"""The repository that a card names with `url`, cloned on the host: the image needs no git, and its commit is known."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from madrun.errors import DataError
from madrun.probe.environment import with_variables
from madrun.spec.masking import without_secrets

_LOOK_EVERY_S = 0.02
# A killed madrun leaves no git behind, nor what that has started: its end of the pipe is closed with it.
_GUARDED = '{ read -r; kill -KILL -- -$$; } <&0 2>/dev/null & exec git "$@" </dev/null'
_LAST = 6  # lines of git that say why
_ASK = """#!/bin/sh
case $1 in
  Username*) printf '%s\\n' "$MADRUN_GIT_USERNAME" ;;
  *) printf '%s\\n' "$MADRUN_GIT_PASSWORD" ;;
esac
"""


def clone(url: str, target: Path, login: Mapping[str, str], check: Callable[[], None], commit: str = "") -> str:
    """Clones with all submodules, and returns the commit. `DataError` where that fails; what `check` raises ends it.

    `commit`: the one to take, default the newest of the repository's own branch.

    `login`: `username`, `password`, `ssh_key_file` where it has them. Git asks for them; no command line shows them.
    """
    if url.startswith("-"):
        raise DataError(f"url: found {url!r}, allowed: the address of a git repository")
    local = ["-c", "protocol.file.allow=always"] if url.startswith(("/", "file://")) else []
    with tempfile.TemporaryDirectory(prefix="madrun-git-") as private:
        env = _environment(Path(private), login)
        _git([*local, "clone", "--quiet", "--recursive", "--", url, str(target)], url, (env, login), check)
        if commit:
            at = [*local, "-C", str(target)]
            _git([*at, "checkout", "--quiet", "--detach", commit], url, (env, login), check)
            _git([*at, "submodule", "--quiet", "update", "--init", "--recursive"], url, (env, login), check)
        out = _git(["-C", str(target), "rev-parse", "HEAD"], url, (env, login), check)
    return out.strip()


def login_of(cred: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """What opens the repository, out of the secrets that the card's `cred` stands for."""
    names = ("username", "password", "ssh_key_file")
    found = {name: secrets.get(f"{cred}_{name.upper()}", "") for name in names} if cred else {}
    return {name: value for name, value in found.items() if value}


def _environment(private: Path, login: Mapping[str, str]) -> dict[str, str]:
    """Git's own, so that it never waits for somebody to type."""
    more = {"GIT_TERMINAL_PROMPT": "0", "SSH_ASKPASS": "", "LC_ALL": "C"}
    key = login.get("ssh_key_file", "")
    identity = f" -i '{key}' -o IdentitiesOnly=yes" if key and "'" not in key else ""
    more["GIT_SSH_COMMAND"] = f"ssh -o BatchMode=yes{identity}"
    if "password" in login:
        ask = private / "ask"
        ask.write_text(_ASK)
        ask.chmod(0o700)
        more |= {
            "GIT_ASKPASS": str(ask),
            "MADRUN_GIT_USERNAME": login.get("username", ""),
            "MADRUN_GIT_PASSWORD": login["password"],
        }
    env = with_variables(more)
    return {name: value for name, value in env.items() if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}


def _git(words: list[str], url: str, known: tuple[dict[str, str], Mapping[str, str]], check: Callable[[], None]) -> str:
    env, login = known
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as out:
        try:
            if shutil.which("git", path=env.get("PATH")) is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            child = subprocess.Popen(
                ["bash", "-c", _GUARDED, "git", *words],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=said,
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            why = f"git cannot be started on this host: {error.strerror}; install git"
            raise DataError(f"url: {url} cannot be cloned: {why}") from None
        try:
            while _runs(child):
                check()
        finally:
            _end(child)
        said.seek(0)
        out.seek(0)
        if child.returncode != 0:
            lines = [line.strip() for line in said.read().decode("utf-8", "replace").splitlines()]
            text = without_secrets((" ".join(filter(None, lines[-_LAST:])),), dict(login))[0]
            raise DataError(
                f"url: {url} cannot be cloned: {text or f'git ended with {child.returncode}'}; for a private one the "
                "card names with cred an entry of credential.json that has username and password, or ssh_key_file"
            )
        return out.read().decode("utf-8", "replace")


def _runs(child: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        child.wait(_LOOK_EVERY_S)
        return False
    return True


def _end(child: subprocess.Popen[bytes]) -> None:
    """Git and what it has started."""
    if child.poll() is None:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.stdin is not None:
        child.stdin.close()
