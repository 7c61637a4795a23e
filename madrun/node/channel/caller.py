"""One connection to node 0 as bytes come and go: whole lines, limits, seals; what they mean is the server's matter."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Protocol

from madrun.node.channel.auth import Keys, Seals
from madrun.node.channel.protocol import GREETING_LIMIT, LINE_LIMIT, Message, NotOurs, decode


class Hall(Protocol):
    """Where callers come to."""

    def arrived(self, caller: Caller) -> None:
        """Somebody has connected."""

    def heard(self, caller: Caller, message: Message, line: bytes) -> None:
        """A message has come, and the line that it stood in."""

    def left(self, caller: Caller, reason: str) -> None:
        """The connection has ended, or has to."""


class Caller(asyncio.Protocol):
    """A stranger until it has a rank."""

    def __init__(self, hall: Hall, elsewhere: str = "") -> None:
        self.elsewhere = elsewhere  # the address that was called, where it is not the one that node 0 was given
        self.rank: int | None = None
        self.keys: Keys | None = None
        self.greeting: Message | None = None  # a hello whose proof is awaited, and the line that it stood in
        self.line = b""
        self.challenge = ""
        self.heard_at = 0.0
        self.dialled: set[int] = set()
        self.doors = 0
        self.transport: asyncio.Transport
        self._hall = hall
        self._buffer = bytearray()
        self._searched = 0
        self._up: Seals | None = None
        self._down: Seals | None = None
        self._over = False

    @property
    def address(self) -> str:
        """Where the connection comes from."""
        peer = self.transport.get_extra_info("peername")
        return str(peer[0]) if peer else "an address that is not known"

    def join(self, rank: int, keys: Keys) -> None:
        """It is known now; from the next message on seals count, where there is a secret."""
        self.rank, self.keys = rank, keys
        if keys.up:
            self._up, self._down = Seals(keys.up), Seals(keys.down)

    def send(self, line: bytes) -> None:
        """Queues one encoded message."""
        if not self._over:
            self.transport.write(self._down.close(line) if self._down else line)

    def end(self) -> None:
        """Closes when what is queued has gone out."""
        self._over = True
        self.transport.close()

    def finish(self) -> None:
        """Sends what is queued and no more, and closes when the other end has: what it still sends is read, for a
        connection that is closed over unread bytes takes the last words with it."""
        self._over = True
        with suppress(OSError, RuntimeError):
            self.transport.write_eof()

    def drop(self) -> None:
        """Closes at once, whatever is queued."""
        self._over = True
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._hall.arrived(self)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self.heard_at = time.monotonic()  # also while a long message is under way
        self._buffer += data
        try:
            while not self._over and (end := self._buffer.find(b"\n", self._searched)) >= 0:
                line = bytes(self._buffer[: end + 1])
                del self._buffer[: end + 1]
                self._searched = 0
                self._check_size(len(line))
                self._hall.heard(self, decode(self._up.open(line) if self._up else line), line)
            self._searched = len(self._buffer)
            self._check_size(self._searched)
        except NotOurs as error:
            self._hall.left(self, f"it sent what is no message ({error})")
            self.drop()

    def _check_size(self, size: int) -> None:
        limit = GREETING_LIMIT if self.rank is None else LINE_LIMIT
        if size > limit:
            raise NotOurs(f"longer than {limit >> 10} KiB")

    def hand_over(self, loop: asyncio.AbstractEventLoop) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection as a stream from here on, with what has already come."""
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        self._over = True  # of this part of it
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if self._buffer:
            reader.feed_data(bytes(self._buffer))
            self._buffer.clear()
        return reader, asyncio.StreamWriter(self.transport, protocol, reader, loop)

    def connection_lost(self, error: Exception | None) -> None:
        self._over = True
        broke = f"its connection broke ({getattr(error, 'strerror', None) or error})"
        self._hall.left(self, broke if error is not None else "its connection ended")
