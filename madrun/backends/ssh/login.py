"""The login to one host by the system's ssh, over which everything else goes to it.

The user's own configuration says how a host is reached; nothing of it is replaced but what would make a program hang
or speak over another's connection. Options: ssh_config(5) of OpenSSH.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from madrun.backends.ssh.settings import SshSettings

_LOGIN_S = 20.0  # after the connection: keys, and a home on a slow file system
_POLL_S = 0.02
# What a busy sshd or a jump host says that has more logins under way than MaxStartups allows, sshd_config(5).
_BUSY = ("kex_exchange_identification", "ssh_exchange_identification", "Connection reset by", "closed by UNKNOWN")
_PAUSES = (0.3, 0.6, 1.2, 2.4, 4.8)
_NO_QUESTION = "BatchMode=yes"
_OURS = (  # the first word on an option counts: the user's come before these
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",  # what the user forwards is for his own sessions, and may be taken by one of them
    "ForwardAgent=no",
    "ForwardX11=no",
    "RemoteCommand=none",
    "LogLevel=INFO",  # what is wrong is told
)


class Login:
    """An ssh to one host without a command there; `started` is told of each such process."""

    def __init__(self, host: str, socket: Path, settings: SshSettings, started: Callable[[int], None]) -> None:
        self._host, self._socket, self._settings, self._started = host, socket, settings, started
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._failed: str | None = None
        self._users = False  # the login is one that the user holds

    def words(self) -> list[str]:
        """Options of ssh for something over this login, and never beside it."""
        if self._users:
            return _options(self._settings)
        only = ("ControlMaster=no", f"ControlPath={self._socket}", "ProxyCommand=false")
        return [*_options(self._settings), *(word for option in only for word in ("-o", option))]

    def open(self, stopped: Callable[[], bool]) -> str:
        """Logs in where that is not done yet; what ssh said where it failed, else nothing."""
        with self._lock:
            if self._failed is None:
                self._failed = self._log_in(stopped)
            elif not self._failed and self._child is not None and self._child.poll() is not None:
                self._failed = f"the connection was lost: {self._said()}"
            return self._failed

    def begin_end(self) -> None:
        """Ends it, and does not wait for that."""
        if self._child is not None:
            self._child.terminate()

    def end(self, deadline: float) -> None:
        """Waits for its end until this moment of the monotonic clock, and then ends it by force."""
        if self._child is None:
            return
        try:
            self._child.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _log_in(self, stopped: Callable[[], bool]) -> str:
        said = ""
        for pause in (*_PAUSES, 0.0):
            said = self._try(stopped)
            if not any(word in said for word in _BUSY):
                break
            again = time.monotonic() + pause * random.uniform(0.5, 1.5)
            while not stopped() and time.monotonic() < again:
                time.sleep(_POLL_S)
        if "Permission denied" in said and self._is_held_by_user():
            self._users = True
            return ""
        return said

    def _try(self, stopped: Callable[[], bool]) -> str:
        """One attempt: nothing where it succeeded, and ssh listens on its socket."""
        options = ("ControlMaster=yes", "ControlPersist=no", f"ControlPath={self._socket}")
        words = [*_options(self._settings), *(word for option in options for word in ("-o", option))]
        with self._log().open("wb") as err:
            command = ["ssh", "-T", "-N", *words, "--", self._host]
            null = subprocess.DEVNULL
            child = subprocess.Popen(command, stdin=null, stdout=null, stderr=err, start_new_session=True)
        self._started(child.pid)
        limit_s = self._settings.connect_s + _LOGIN_S
        deadline = time.monotonic() + limit_s
        while child.poll() is None and time.monotonic() < deadline and not stopped():
            if self._socket.exists():
                self._child = child
                return ""
            time.sleep(_POLL_S)
        if (ended := child.poll()) is not None:
            return self._said() or f"ssh ended with {ended} and said nothing"
        child.kill()
        child.wait()
        self._socket.unlink(missing_ok=True)
        return f"Connection timed out: the login was not finished within {limit_s:.0f} s"

    def _log(self) -> Path:
        return self._socket.with_suffix(".err")

    def _said(self) -> str:
        with suppress(OSError):
            return self._log().read_text(errors="replace").strip()
        return ""

    def _is_held_by_user(self) -> bool:
        """Whether the user holds a login to the host by his own configuration, made with a second factor perhaps."""
        words = ["ssh", "-O", "check", "-o", _NO_QUESTION, "--", self._host]
        with suppress(subprocess.TimeoutExpired):
            return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=5).returncode == 0
        return False


def _options(settings: SshSettings) -> list[str]:
    words = (_NO_QUESTION, *settings.options, *_OURS, f"ConnectTimeout={max(round(settings.connect_s), 1)}")
    return [word for option in words for word in ("-o", option)]
