"""A blocking connection that carries messages: whole lines, limits, seals once there is a key."""

from __future__ import annotations

import contextlib
import socket
import threading

from madrun.node.channel.auth import Keys, Seals
from madrun.node.channel.protocol import LINE_LIMIT, SILENCE_S, Message, NotOurs, decode, encode

_MOST = 64 * LINE_LIMIT  # node 0's own agent gets what all nodes have sent in one message
_CHUNK = 256 << 10


class Wire:
    """Sends from any thread, receives in one."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = bytearray()
        self._searched = 0
        self._write = threading.Lock()
        self._up: Seals | None = None
        self._down: Seals | None = None
        connection.settimeout(SILENCE_S)

    def protect(self, keys: Keys) -> None:
        """From now on every message is sealed, where the keys are for that."""
        if keys.up:
            self._up, self._down = Seals(keys.up), Seals(keys.down)

    def send(self, message: Message) -> None:
        """Sends one message; `OSError` where it did not go out whole, and then nothing more can follow."""
        line = encode(message)
        with self._write:
            try:
                self.connection.sendall(self._up.close(line) if self._up else line)
            except OSError:
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)  # half a message stands at its end
                raise

    def receive(self) -> Message | None:
        """The next message, None at the end; `TimeoutError` loses nothing of what has come, `NotOurs`, `OSError`."""
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            if self._searched > _MOST:
                raise NotOurs(f"a message longer than {_MOST >> 20} MiB")
            chunk = self.connection.recv(_CHUNK)
            if not chunk:
                return None
            self._buffer += chunk
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self._searched = 0
        return decode(self._down.open(line) if self._down else line)

    def finish(self) -> None:
        """Nothing more is sent; what comes can still be received."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Ends the connection."""
        self.connection.close()
