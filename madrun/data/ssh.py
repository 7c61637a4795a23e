"""The system's ssh to a server of data: one key or password, no question on a terminal, no secret on a command line."""

from __future__ import annotations

import os
import select
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from madrun.data.work import Unreachable

_ASKED = "MADRUN_SSH_PASSWORD"
_SETTINGS = {
    "ConnectTimeout": "10",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
    "StrictHostKeyChecking": "accept-new",  # one that has changed is refused
    "ClearAllForwardings": "yes",
    "LogLevel": "ERROR",
}
_WORDS = [word for name, value in _SETTINGS.items() for word in ("-o", f"{name}={value}")]
_TOLD = 3  # last lines of a program that fails
_END_S, _LOOK_EVERY_S, _CHUNK = 5.0, 0.2, 1 << 20
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One entry of NAS_NODES."""

    name: str
    host: str
    port: int
    user: str
    key_file: str = ""
    password: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """For messages."""
        return f"{self.name} ({self.user}@{self.host} port {self.port})"


def server(entry: Mapping[str, str]) -> Server:
    """As the entry says it; `Unreachable` where it lacks something."""
    words = {name.upper(): value for name, value in entry.items()}
    key = words.get("SSH_KEY_FILE") or words.get("KEY_FILE") or ""
    host, user, port = (
        words.get("HOST", ""),
        words.get("USERNAME") or words.get("USER") or "",
        words.get("PORT") or "22",
    )
    name = words.get("NAME") or host
    if not host or not user or host.startswith("-") or user.startswith("-"):
        raise Unreachable(f"{name or 'an entry'}: found HOST {host!r} and USERNAME {user!r}, allowed: one of each")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise Unreachable(f"{name}: PORT: found {port!r}, allowed: 1 to 65535")
    if key and not Path(key).expanduser().is_file():
        raise Unreachable(f"{name}: SSH_KEY_FILE {key} does not exist")
    password = words.get("PASSWORD", "")
    key_file = str(Path(key).expanduser()) if key else ""
    return Server(name=name, host=host, port=int(port), user=user, key_file=key_file, password=password)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """ssh to one server: `words` start a command there, `env` is that of the program here."""

    server: Server
    words: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)

    def command(self, text: str) -> list[str]:
        """Words that run a shell text there."""
        return [*self.words, "-l", self.server.user, "--", self.server.host, text]

    @property
    def shell(self) -> str:
        """For programs that take the command for a remote shell as one text."""
        return shlex.join((*self.words, "-l", self.server.user))


@contextmanager
def client(server: Server, env: Mapping[str, str]) -> Iterator[Client]:
    """The password is given through SSH_ASKPASS, by a program that prints a variable of its environment."""
    import tempfile

    words = ["ssh", *_WORDS, "-p", str(server.port)]
    if server.key_file:
        words += ["-o", "IdentitiesOnly=yes", "-i", server.key_file]
    with tempfile.TemporaryDirectory(prefix="madrun-ssh-") as folder:
        changed = dict(env)
        if server.password:
            asking = Path(folder, "ask")
            asking.write_text(f'#!/bin/sh\nprintf "%s\\n" "${_ASKED}"\n')
            asking.chmod(stat.S_IRWXU)
            words += ["-o", "NumberOfPasswordPrompts=1", "-o", "BatchMode=no"]
            changed |= {
                "SSH_ASKPASS": str(asking),
                "SSH_ASKPASS_REQUIRE": "force",
                "DISPLAY": ":",
                _ASKED: server.password,
            }
        else:
            words += ["-o", "BatchMode=yes"]
        yield Client(server=server, words=tuple(words), env=changed)


class Program:
    """A running program whose output is read as it comes. It ends when this process does.

    `alive` is asked while it is waited for, and raises where it is not to go on.
    """

    def __init__(self, words: list[str], env: Mapping[str, str], alive: Callable[[], None], given: bytes) -> None:
        import ctypes
        import tempfile

        library = ctypes.CDLL(None)  # looked up before the fork: after it nothing may be loaded
        self._alive = alive
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._given = tempfile.TemporaryFile()  # noqa: SIM115
        self._given.write(given)
        self._given.seek(0)
        self._child = subprocess.Popen(
            words,
            stdin=self._given,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=dict(env),
            preexec_fn=lambda: library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0),
            start_new_session=True,
        )
        assert self._child.stdout is not None
        self._output = self._child.stdout
        self._fd = self._output.fileno()

    def some(self) -> bytes:
        """What it has printed since, as soon as there is something; nothing at the end."""
        while not select.select([self._fd], [], [], _LOOK_EVERY_S)[0]:
            self._alive()
        return os.read(self._fd, _CHUNK)

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end: what readers of archives want."""
        parts, missing = [], size
        while missing:
            while not select.select([self._fd], [], [], _LOOK_EVERY_S)[0]:
                self._alive()
            got = os.read(self._fd, missing)
            if not got:
                break
            parts.append(got)
            missing -= len(got)
        return b"".join(parts)

    def finish(self) -> int:
        """Its exit code once it has ended."""
        while True:
            try:
                return self._child.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                self._alive()

    def complaint(self) -> str:
        """The last lines that it wrote to standard error."""
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").split("\n")
        return "; ".join([line.strip() for line in lines if line.strip()][-_TOLD:])

    def end(self) -> None:
        """Ends it and all it started, where it has not ended."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._child.poll() is None:
                os.killpg(self._child.pid, number)
                deadline = time.monotonic() + _END_S
                while self._child.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.02)
        for file in (self._output, self._said, self._given):
            file.close()


@contextmanager
def program(
    words: list[str], env: Mapping[str, str], alive: Callable[[], None], given: bytes = b""
) -> Iterator[Program]:
    """Started; ended with the block."""
    started = Program(words, env, alive, given)
    try:
        yield started
    finally:
        started.end()
