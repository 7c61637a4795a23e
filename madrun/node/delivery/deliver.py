"""The files of a node on their way to node 0, where the nodes share no results directory."""

from __future__ import annotations

import hashlib
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from madrun.node.channel.link import Link
from madrun.node.delivery.cargo import remarks, survey
from madrun.node.delivery.parcel import LINE_LIMIT, RAW, Garbled, Item, header, line_of, pack, parse_line
from madrun.node.task import IMPATIENT, Interrupt
from madrun.results.regular import NotRegular, open_regular
from madrun.units import format_size

TRIES = 6  # in a row, without a byte of progress
REST_S = 0.1  # before the second try; twice as long before each further one
SILENCE_S = 20.0  # how long node 0 may take for an answer, or to read
TOTAL_S = 1800.0
_TICK_S = 0.25
_WORTH_SAYING = 16 << 20


class GivenUp(Exception):
    """Nothing more is brought; the text says why."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who delivers: the link to node 0, this host's name, its user's patience, and where news goes."""

    link: Link
    hostname: str
    interrupt: Interrupt
    say: Callable[[str], None]


def deliver(sender: Sender, folder: Path, limit: int) -> tuple[str, ...]:
    """Brings `node-<rank>/` to node 0, at most so many bytes; notes on what did not come, why, and where it lies."""
    place = f"{sender.hostname}:{folder}"
    if limit == 0:
        return (f"nothing was brought to node 0, as asked (collect_limit 0); the files lie in {place}",)
    cargo = survey(folder, limit)
    if cargo.size > _WORTH_SAYING:
        sender.say(f"bringing {format_size(cargo.size)} to node 0")
    courier = _Courier(sender, folder, cargo.items)
    courier.run()
    return remarks([*courier.left, *cargo.left], place)


class _Courier:
    """Dials as often as it helps; every item ends as delivered or, with a reason, in `left`."""

    def __init__(self, sender: Sender, folder: Path, items: tuple[Item, ...]) -> None:
        self.left: list[tuple[str, str]] = []
        self._sender, self._folder = sender, folder
        self._pending = deque(items)
        self._deadline = time.monotonic() + TOTAL_S
        self._moved = 0

    def run(self) -> None:
        tries, moved = 0, 0
        while self._pending:
            try:
                self._check()
                self._trip()
            except GivenUp as reason:
                return self._give_up(str(reason))
            except (OSError, Garbled) as error:
                tries = 1 if self._moved > moved else tries + 1
                moved = self._moved
                if tries >= TRIES:
                    return self._give_up(f"the connection to node 0 broke {tries} times in a row ({error})")
                self._rest(REST_S * 2**tries)
        return None

    def _give_up(self, reason: str) -> None:
        self.left += [(item.name, reason) for item in self._pending]
        self._pending.clear()

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._over():
            time.sleep(min(seconds, _TICK_S / 5))

    def _over(self) -> str:
        """Why nothing more can be brought; empty where it can."""
        failure = self._sender.link.failure
        if self._sender.interrupt.count >= IMPATIENT:
            return "a second signal came"
        if failure is not None and failure.kind == "node lost" and failure.node == 0:
            return "node 0 was lost"
        return f"it took longer than {TOTAL_S / 60:g} min" if time.monotonic() > self._deadline else ""

    def _check(self) -> None:
        if reason := self._over():
            raise GivenUp(reason)

    def _trip(self) -> None:
        """Over one connection, as much as it carries."""
        connection = self._sender.link.dial("files")
        if connection is None:
            raise GivenUp("there is no way to node 0")
        with connection:
            wire = _Wire(connection, self._check)
            while self._pending:
                why = self._bring(wire, self._pending[0])
                item = self._pending.popleft()
                if why:
                    self.left.append((item.name, why))

    def _bring(self, wire: _Wire, item: Item) -> str:
        """Why node 0 does not have the item now; empty where it has."""
        if item.kind != "file":
            return self._ask(wire, item, None)
        try:
            file = open_regular(self._folder / item.name)
        except (OSError, NotRegular) as error:
            return str(error)
        with file:
            return self._ask(wire, item, file)

    def _ask(self, wire: _Wire, item: Item, file: BinaryIO | None) -> str:
        for _ in range(2):
            wire.send(header(item))
            answer = wire.answer()
            if "have" in answer and file is not None:
                try:
                    self._pour(wire, item, file, int(answer["have"]))
                except _Changed as changed:
                    wire.abandon()
                    return str(changed)
                answer = wire.answer()
            if answer.get("over"):
                raise GivenUp(str(answer.get("refuse", "node 0 takes no more")))
            if not answer.get("again"):
                return str(answer.get("refuse", ""))
        return "it was not the same on node 0"

    def _pour(self, wire: _Wire, item: Item, file: BinaryIO, have: int) -> None:
        """The file from byte `have` on, as many bytes as were announced."""
        digest, at = hashlib.sha256(), 0
        file.seek(0)
        while at < item.size:
            chunk = _read(file, min(RAW, item.size - at, have - at if at < have else RAW))
            digest.update(chunk)
            at += len(chunk)
            if at > have:
                wire.send(pack(chunk))
                self._moved += len(chunk)
            else:
                self._check()
        wire.send(pack(b"") + line_of({"sha256": digest.hexdigest()}))


class _Changed(Exception):
    """The file is not what it was when it was announced."""


def _read(file: BinaryIO, size: int) -> bytes:
    """Some bytes; `_Changed` where there are none any more."""
    try:
        chunk = file.read(size)
    except OSError as error:
        raise _Changed(f"it could not be read: {error.strerror or error}") from None
    if not chunk:
        raise _Changed("it became shorter on the way")
    return chunk


class _Wire:
    """A connection that never keeps its user waiting: between any two bytes it looks whether to go on."""

    def __init__(self, connection: socket.socket, check: Callable[[], None]) -> None:
        connection.settimeout(_TICK_S)
        with suppress(OSError):  # else each of many small files waits 40 ms for an acknowledgement
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection, self._check = connection, check
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """All of it; `OSError` where node 0 does not read."""
        view, since = memoryview(data), time.monotonic()
        while view:
            self._check()
            try:
                view, since = view[self._connection.send(view) :], time.monotonic()
            except TimeoutError:
                self._too_long(since)

    def answer(self) -> dict[str, Any]:
        """The next line; `OSError` where none comes."""
        since = time.monotonic()
        while b"\n" not in self._buffer:
            self._check()
            try:
                chunk = self._connection.recv(LINE_LIMIT)
            except TimeoutError:
                self._too_long(since)
                continue
            if not chunk:
                raise ConnectionResetError("node 0 closed it")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return parse_line(line + b"\n")

    def abandon(self) -> None:
        """Ends the connection in the middle of a file: there is no other way to say so."""
        self._connection.close()

    @staticmethod
    def _too_long(since: float) -> None:
        if time.monotonic() - since > SILENCE_S:
            raise TimeoutError(f"node 0 did not answer for {SILENCE_S:g} s")
