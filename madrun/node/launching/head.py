"""Node 0's side: passes what its runner asks for to the nodes that hold, and their answers back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from madrun.node.channel.protocol import LINE_LIMIT, NotOurs, decode, encode
from madrun.node.launching.requests import FAILED, Request, Unreadable, answer, pending, taken

if TYPE_CHECKING:
    import asyncio

_LOOK_S = 0.05


class Launches:
    """The door through which nodes that hold wait for starts; it is open as long as the server is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writers: dict[int, tuple[asyncio.AbstractEventLoop, asyncio.StreamWriter]] = {}
        self._heard: Callable[[dict[str, Any]], None] = lambda _message: None

    async def door(self, rank: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A further connection of node `rank`, which waits for starts; it is closed when this returns."""
        import asyncio

        with self._lock:
            self._writers[rank] = (asyncio.get_running_loop(), writer)
        try:
            while line := await _line(reader):
                self._heard(decode(line))
        except NotOurs:
            return
        finally:
            with self._lock:
                current = self._writers.get(rank, (None, None))[1] is writer
                if current:
                    del self._writers[rank]
            if current:
                self._heard({"type": "lost", "rank": rank})

    def listen(self, heard: Callable[[dict[str, Any]], None]) -> None:
        """From now on answers of the nodes go there."""
        self._heard = heard

    def send(self, rank: int, message: dict[str, Any]) -> bool:
        """Whether the node waits for starts, and was sent this."""
        with self._lock:
            loop, writer = self._writers.get(rank, (None, None))
        if loop is None or writer is None:
            return False
        try:
            loop.call_soon_threadsafe(writer.write, encode(message))
        except RuntimeError:  # the loop has ended
            return False
        return True

    def ranks(self) -> list[int]:
        """Nodes that wait for starts."""
        with self._lock:
            return sorted(self._writers)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line, far above the limit of the reader's own; empty at the end, and where it is no message's length."""
    import asyncio

    line = b""
    while len(line) <= LINE_LIMIT:
        try:
            return line + await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as more:
            line += await reader.readexactly(more.consumed)
        except asyncio.IncompleteReadError:
            break
    return b""


class Dispatcher:
    """Looks for requests in the box of node 0 while its script runs.

    `hosts`: rank of the node by what it is called; `addresses`: of the nodes, in order of rank.
    """

    def __init__(
        self, folder: Path, launches: Launches, hosts: Mapping[str, int], addresses: Sequence[str] = ()
    ) -> None:
        self._folder, self._launches, self._hosts, self._addresses = folder, launches, hosts, addresses
        self._known: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        launches.listen(self._answered)

    def start(self) -> None:
        """From now on requests are passed on."""
        self._thread.start()

    def end(self) -> None:
        """Nothing more is passed on."""
        self._over.set()

    def over(self) -> None:
        """Node 0's script has ended by itself: the nodes need not wait."""
        self.end()
        for rank in self._launches.ranks():
            self._launches.send(rank, {"type": "over"})

    def _look(self) -> None:
        while not self._over.wait(_LOOK_S):
            for name in pending(self._folder, self._known):
                self._known.add(name)
                self._pass_on(name)

    def _pass_on(self, name: str) -> None:
        try:
            request = taken(self._folder, name)
        except (OSError, Unreadable) as error:
            self._refuse(name, f"what was asked for cannot be read: {error}")
            return
        rank = self._hosts.get(request.host)
        if rank is None:
            known = ", ".join(sorted(self._hosts, key=lambda host: (self._hosts[host], host)))
            self._refuse(name, f"{request.host} is no node of this run; its nodes are: {known}")
            return
        self._waiting[name] = rank
        if not self._launches.send(rank, self._message(request, rank)):
            self._refuse(name, f"node {rank} does not wait for starts")

    def _refuse(self, name: str, reason: str) -> None:
        self._waiting.pop(name, None)
        self._tell(name, f"madrun-launch: {reason}\n", FAILED)

    def _tell(self, name: str, text: str, code: int) -> None:
        with suppress(OSError):  # a disk without room: nothing can be told there, and the others are to be told
            answer(self._folder, name, text, code)

    def _answered(self, message: dict[str, Any]) -> None:
        if message["type"] == "lost":
            self._lost(message["rank"])
            return
        name, text, code = message.get("name"), message.get("text"), message.get("code")
        whole = isinstance(text, str) and isinstance(code, int)
        if isinstance(name, str) and whole and self._waiting.pop(name, None) is not None:
            self._tell(name, str(text), int(code or 0))

    def _lost(self, rank: int) -> None:
        if self._over.is_set():
            return  # when the script has ended they all leave, and nobody is to complain of it
        for name in [name for name, at in list(self._waiting.items()) if at == rank]:
            self._refuse(name, f"node {rank} is gone")

    def _message(self, request: Request, rank: int) -> dict[str, Any]:
        own = {"MADRUN_ADDRESS": self._addresses[rank]} if rank < len(self._addresses) else {}
        return {
            "type": "launch",
            "name": request.name,
            "directory": request.directory,
            "text": request.text,
            "env": request.env | own,
        }
