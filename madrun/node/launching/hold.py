"""The side of a node that holds: takes starts from node 0, has its driver make them, and tells how they ended."""

from __future__ import annotations

import shlex
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from madrun.node.channel.protocol import SILENCE_S, NotOurs, decode, encode, text_of
from madrun.node.launching.requests import FAILED, NAME, write_new
from madrun.results.regular import NotRegular, open_regular
from madrun.spec.context import VARIABLE_NAME

LOST_S = SILENCE_S + 2  # by then the control channel would have missed node 0 itself
_LOOK_S = 0.05
_MOST_TEXT = 1 << 20
_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # seconds and number: it says nothing for hours


class Holder:
    """Waits for starts from construction to `close`; `send` gives the driver a line. `started` counts them."""

    def __init__(self, connection: socket.socket, folder: Path, send: Callable[[str], None]) -> None:
        self.started = 0
        self._connection, self._folder, self._send = connection, folder, send
        self._open: set[str] = set()
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._closed = threading.Event()
        self._lost_at = float("inf")
        _keep_alive(connection)
        for work in (self._listen, self._look):
            threading.Thread(target=work, daemon=True).start()

    @property
    def lost(self) -> bool:
        """Whether its connection has ended some time ago, though nobody has said that it is over."""
        return time.monotonic() - self._lost_at >= LOST_S

    def close(self) -> None:
        """Takes no more."""
        self._closed.set()
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _listen(self) -> None:
        with suppress(OSError, ValueError, NotOurs), self._connection.makefile("rb") as lines:
            for line in lines:
                message = decode(line)
                if message["type"] == "over":
                    self._send("over")
                    return
                if message["type"] == "launch":
                    self._start(message)
        self._lost_at = time.monotonic()

    def _start(self, message: dict[str, Any]) -> None:
        name, env = text_of(message, "name"), message.get("env")
        if not NAME.fullmatch(name) or not isinstance(env, dict):
            raise NotOurs("no start")
        text = script(text_of(message, "directory"), text_of(message, "text"), env)
        try:
            write_new(self._folder / f"{name}.sh", text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            self._send_end(name, f"madrun-launch: {self._folder} takes no start: {error.strerror}\n", FAILED)
            return
        self.started += 1
        with self._lock:
            self._open.add(name)
        self._send(f"launch {name}")

    def _look(self) -> None:
        while not self._closed.wait(_LOOK_S):
            with self._lock:
                waiting = list(self._open)
            for name in waiting:
                code = _code(self._folder / f"{name}.code")
                if code is not None:
                    with self._lock:
                        self._open.discard(name)
                    self._tell(name, code)

    def _tell(self, name: str, code: int) -> None:
        text = ""
        with suppress(OSError, NotRegular), open_regular(self._folder / f"{name}.out") as file:
            text = file.read(_MOST_TEXT).decode("utf-8", "replace")
        self._send_end(name, text, code)

    def _send_end(self, name: str, text: str, code: int) -> None:
        with self._sending, suppress(OSError):
            self._connection.sendall(encode({"type": "ended", "name": name, "text": text, "code": code}))


def _code(file: Path) -> int | None:
    """The exit code that the driver has noted; None before."""
    try:
        with open_regular(file) as lines:
            text = lines.read(8)
    except (OSError, NotRegular):
        return None
    return int(text) if text.endswith(b"\n") and text.strip().isdigit() else None


def _keep_alive(connection: socket.socket) -> None:
    """So that no firewall on the way forgets the connection, and that its end is noticed."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _ALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


_OWN_FILES = """\
: "${MADRUN_HEAD_BOX=$MADRUN_BOX}"
for MADRUN_NAME in @NAMES@; do
  [[ $MADRUN_HEAD_BOX == "$MADRUN_BOX" ]] || export "$MADRUN_NAME=${!MADRUN_NAME//"$MADRUN_HEAD_BOX"/"$MADRUN_BOX"}"
done
[[ :$PATH: == *:"$MADRUN_BOX/bin":* ]] || export PATH="$PATH:$MADRUN_BOX/bin"
cd "$MADRUN_DIRECTORY" 2>/dev/null
"""


def script(directory: str, text: str, env: Mapping[str, str]) -> str:
    """The bash text of one start: variables first, then the words as a shell reads them, as behind ssh.

    It removes itself, for what is exported may be secret. Without containers node 0's box lies elsewhere than this
    node's: paths below it become paths below this one.
    """
    known = {name: str(value) for name, value in env.items() if VARIABLE_NAME.fullmatch(name)}
    names = ["MADRUN_DIRECTORY", *(name for name in known if name != "MADRUN_HEAD_BOX")]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in {**known, names[0]: directory}.items()]
    # Where the directory is not there, whoever is started says so itself.
    return "\n".join(['rm -f -- "$0"', *exports, _OWN_FILES.replace("@NAMES@", " ".join(names)) + text, ""])
