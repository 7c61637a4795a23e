"""Connections to hosts by the system's ssh: one login each, over which everything else goes."""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from madrun.backends.ssh.login import Login
from madrun.backends.ssh.settings import SshSettings
from madrun.backends.ssh.shell import for_any_shell
from madrun.errors import UsageError

_T = TypeVar("_T")
NO_CONNECTION, TOO_LONG, STOPPED = 255, 124, 130  # ssh(1); timeout(1); a shell after Ctrl-C
_LOOK_S = 0.1
_LONGEST_SOCKET = 80  # of the 104 bytes that macOS gives one, unix(4): ssh adds 17 of its own
_END_S = 1.0  # for a login to end in order
# Ends the logins of a madrun that was killed, whose input has then ended; of a number that another process has by now
# nothing is ended.
_GUARD = """pids=; while read -r pid; do pids="$pids $pid"; done
for pid in $pids; do
  case $(ps -ww -o args= -p "$pid") in *"$1/"*) kill "$pid";; esac
done
rm -rf -- "$1"
"""
_FILES = 6  # of this process for each host


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a command on a host came to; `code` as a shell tells it, 255 where ssh itself failed."""

    host: str
    code: int
    out: bytes = b""
    err: bytes = b""

    @property
    def said(self) -> str:
        """Its standard error as text."""
        return self.err.decode(errors="replace").strip()


class Connections:
    """Logins to hosts, held until the end of a `with`; what runs over them ends with it.

    A host is logged in to when something is run there first. Of what a host's connection is lost for, the next call
    says it: it is not made again.
    """

    def __init__(self, settings: SshSettings) -> None:
        self._settings = settings
        self._logins: dict[str, Login] = {}
        self._lock = threading.Lock()
        self._folder = Path("/nonexistent")
        self._guard: subprocess.Popen[bytes] | None = None
        self._given_up = threading.Event()

    def __enter__(self) -> Connections:
        if shutil.which("ssh") is None:
            raise UsageError("found no ssh on PATH; install OpenSSH's client on this host")
        base = tempfile.gettempdir()
        self._folder = Path(
            tempfile.mkdtemp(prefix="madrun-", dir=base if len(base) < _LONGEST_SOCKET - 20 else "/tmp")
        )
        words = ["/bin/sh", "-c", _GUARD, "sh", str(self._folder)]
        null = subprocess.DEVNULL
        self._guard = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=null, stderr=null, bufsize=0, start_new_session=True
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends all logins, and with them what still runs over them."""
        for login in self._logins.values():
            login.begin_end()
        deadline = time.monotonic() + _END_S
        for login in self._logins.values():
            login.end(deadline)
        self._logins.clear()
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def open(self, hosts: Sequence[str], stop: threading.Event | None = None) -> dict[str, str]:
        """Logs in to all of them at once; for each that does not let us in, what ssh said."""
        stopped = self._stopped(stop)
        said = self._all(lambda host: self._login(host).open(stopped), hosts)
        return {host: text for host, text in zip(hosts, said, strict=True) if text}

    def run(
        self,
        hosts: Sequence[str],
        script: str | Mapping[str, str],
        *,
        input: bytes | Mapping[str, bytes] = b"",
        limit_s: float = 60.0,
        stop: threading.Event | None = None,
    ) -> list[Reply]:
        """The same text of sh, or each host's own, on all hosts at the same time, `fanout` of them; waits for all.

        A host that is not reached replies 255 with what ssh said; one that takes longer than `limit_s` after its login
        124; once `stop` is set all others 130. Standard output and error are kept in memory.
        """

        stopped = self._stopped(stop)

        def one(host: str) -> Reply:
            text = script if isinstance(script, str) else script[host]
            given = input if isinstance(input, bytes) else input[host]
            if failed := self._login(host).open(stopped):
                return Reply(host=host, code=NO_CONNECTION, err=failed.encode())
            child = self.start(host, text)
            return _finish(host, child, given, time.monotonic() + limit_s, stopped)

        return self._all(one, hosts)

    def start(
        self,
        host: str,
        script: str,
        *,
        stdin: int | IO[bytes] = subprocess.PIPE,
        stdout: int | IO[bytes] = subprocess.PIPE,
        stderr: int | IO[bytes] = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """The text of sh on one host, left running; its input and output are those of the process that is returned.

        The host is logged in to already. The process is in a session of its own: Ctrl-C here does not reach it. What
        runs there is not ended with it: what is started has to end with its input.
        """
        words = ["ssh", "-T", *self._login(host).words(), "--", host, for_any_shell(script)]
        return subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)

    def words(self, host: str) -> list[str]:
        """`ssh` and its options for a program that speaks to this host over the same login (rsync -e)."""
        return ["ssh", "-T", *self._login(host).words()]

    def _all(self, one: Callable[[str], _T], hosts: Sequence[str]) -> list[_T]:
        """What it gives for each of them, `fanout` at a time; none of it goes on after an exception here."""
        _allow_files(_FILES * len(hosts))
        with ThreadPoolExecutor(min(self._settings.fanout, max(len(hosts), 1))) as pool:
            try:
                return list(pool.map(one, hosts))
            except BaseException:  # Ctrl-C where it is no event
                self._given_up.set()
                raise

    def _stopped(self, stop: threading.Event | None) -> Callable[[], bool]:
        return lambda: self._given_up.is_set() or (stop is not None and stop.is_set())

    def _login(self, host: str) -> Login:
        with self._lock:
            if host not in self._logins:
                socket = self._folder / str(len(self._logins))
                self._logins[host] = Login(host, socket, self._settings, self._tell_guard)
            return self._logins[host]

    def _tell_guard(self, pid: int) -> None:
        assert self._guard is not None
        assert self._guard.stdin is not None
        with suppress(BrokenPipeError):
            self._guard.stdin.write(f"{pid}\n".encode())


def _finish(
    host: str, child: subprocess.Popen[bytes], given: bytes, deadline: float, stopped: Callable[[], bool]
) -> Reply:
    """Waits for its end; ends it after the deadline, and once it is stopped."""
    first: dict[str, Any] = {"input": given}
    while True:
        try:
            out, err = child.communicate(**first, timeout=_LOOK_S)
            return Reply(host=host, code=child.returncode, out=out, err=err)
        except subprocess.TimeoutExpired:
            first = {}
        if stopped() or time.monotonic() >= deadline:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):  # the login has them too, while the command lives
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()
            return Reply(host=host, code=STOPPED if stopped() else TOO_LONG)


def _allow_files(needed: int) -> None:
    """Lets this process open so many files, as far as the host does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        wanted = soft + needed if hard == resource.RLIM_INFINITY else min(soft + needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
