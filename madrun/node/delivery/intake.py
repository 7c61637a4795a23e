"""Node 0's side of deliveries: files of other nodes, written below the run's directory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from madrun.node.delivery.parcel import HEAD, Garbled, Item, line_of, parse_head, parse_header, parse_line, unpack
from madrun.node.delivery.shelf import Shelf, Slot
from madrun.units import format_size

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
SILENCE_S = 60.0  # after which a connection that brings nothing is closed; the node dials again
LAST_S = 2.0  # for what a connection that was given up has brought already
_THREADS = 4
_MOST_ITEMS = 200_000
_NO_ROOM = "the disk of node 0 has no room for it"
_STOPPED = "node 0 was told not to wait for it"


class Refused(Exception):
    """Node 0 does not take it; the text says why."""


@dataclass(slots=True)
class Delivery:
    """What one node brings to one run. Everything that touches the disk happens below its lock."""

    shelf: Shelf
    limit: int
    total: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: bool = False

    def do(self, step: Callable[..., T], *args: Any) -> T:
        """The step's result; `Refused` once the run is over for node 0."""
        with self.lock:
            if self.over:
                raise Refused("the run is over")
            return step(*args)

    def begin(self, item: Item) -> Slot | None:
        """A place for a file, None where the item is complete without one; `Refused` where it may not come."""
        total = self.total - self.sizes.get(item.name, 0) + item.size
        if total > self.limit or len(self.sizes) >= _MOST_ITEMS:
            raise Refused(f"node 0 takes at most {format_size(self.limit)} from each node (collect_limit)")
        if not self.shelf.room_for(item.size):
            raise Refused(_NO_ROOM)
        self.total, self.sizes[item.name] = total, item.size
        if item.kind == "file":
            return self.shelf.begin(item)
        self.shelf.put(item)
        return None

    def store(self, slot: Slot, form: int, body: bytes) -> None:
        """Appends to a file. Others fill the disk too meanwhile: what the record needs is left free."""
        chunk = unpack(form, body)
        if not self.shelf.room_for(len(chunk)):
            raise Refused(_NO_ROOM)
        slot.write(chunk)

    def end(self) -> list[str]:
        """Takes no more; the names of what came in part."""
        with self.lock:
            self.over = True
            partial = sorted(self.shelf.partial)
            self.shelf.close()
            return partial


class Intake:
    """Takes files from the moment a run's directory is named until it is closed."""

    def __init__(self) -> None:
        self._run: Path | None = None
        self._limit = 0
        self._stopped = ""
        self._deliveries: dict[int, Delivery] = {}
        self._doors: dict[int, tuple[asyncio.Task[Any], asyncio.StreamWriter]] = {}
        self._pool: ThreadPoolExecutor | None = None

    def open(self, run: Path, limit: int) -> None:
        """What nodes deliver from now on goes to `node-<rank>/` of this directory, so many bytes of each node."""
        self.end()
        self._stopped, self._limit, self._run = "", limit, run

    def stop(self) -> None:
        """Takes no more for this run, and tells every node that brings something so."""
        self._stopped = _STOPPED

    def end(self) -> tuple[str, ...]:
        """Nobody will deliver for this run any more; notes on what came in part."""
        self._run = None
        deliveries, self._deliveries = self._deliveries, {}
        return tuple(
            f"node {rank}: {name} came to node 0 in part: {name}.incomplete"
            for rank, delivery in sorted(deliveries.items())
            for name in delivery.end()
        )

    def close(self) -> None:
        """Takes no more."""
        self.end()
        if self._pool is not None:
            self._pool.shutdown()

    async def door(self, rank: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A further connection of node `rank`, greeted; it is closed when this returns."""
        import asyncio

        before = self._doors.get(rank)
        this = asyncio.current_task()
        assert this is not None
        self._doors[rank] = this, writer
        if before is not None and not before[0].done():
            # The node has given that connection up, or it would not dial again: what came by it is read to its end.
            _, still = await asyncio.wait({before[0]}, timeout=LAST_S)
            # A cancelled read may go on nevertheless (https://github.com/python/cpython/issues/86296); one of a
            # connection that is closed ends.
            if still:
                before[1].transport.abort()
                await asyncio.wait(still, timeout=SILENCE_S)
        try:
            await self._serve(rank, reader, writer)
        except (Garbled, ValueError, EOFError, asyncio.TimeoutError):
            return  # what has come is kept; the node that sent it sees that this connection has ended
        finally:
            if self._doors.get(rank) == (this, writer):
                del self._doors[rank]

    async def _serve(self, rank: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncio

        while line := await asyncio.wait_for(reader.readline(), SILENCE_S):
            try:
                item = parse_header(parse_line(line))
            except Garbled as error:
                writer.write(line_of({"refuse": f"node 0 takes no such thing: {error}", "over": True}))
                await writer.drain()
                return
            answer = await self._take(rank, item, reader, writer)
            writer.write(line_of(answer))
            await writer.drain()
            if answer.get("over"):
                return

    async def _take(
        self, rank: int, item: Item, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> dict[str, Any]:
        """The last word on one item."""
        if self._stopped or self._run is None or rank == 0:
            return {"refuse": self._stopped or "no run is open", "over": True}
        try:
            delivery = await self._off_loop(self._delivery, rank, self._run)
            slot = await self._off_loop(delivery.do, delivery.begin, item)
        except (OSError, Refused) as error:
            return {"refuse": _why(error)}
        if slot is None:
            return {"done": True}
        try:
            writer.write(line_of({"have": slot.have}))
            return await self._receive(delivery, slot, reader)
        finally:
            slot.close()

    async def _receive(self, delivery: Delivery, slot: Slot, reader: asyncio.StreamReader) -> dict[str, Any]:
        import asyncio

        problem: str = ""
        while True:
            form, length = parse_head(await asyncio.wait_for(reader.readexactly(HEAD.size), SILENCE_S))
            if not length:
                break
            body = await asyncio.wait_for(reader.readexactly(length), SILENCE_S)
            if self._stopped:
                return {"refuse": self._stopped, "over": True}
            if problem:
                continue  # what is on its way already is read and dropped, up to the end of this file
            try:
                await self._off_loop(delivery.do, delivery.store, slot, form, body)
            except (OSError, Refused) as error:
                problem = _why(error)
        checksum = parse_line(await asyncio.wait_for(reader.readline(), SILENCE_S)).get("sha256")
        try:
            if problem:
                await self._off_loop(delivery.do, slot.discard)
                return {"refuse": problem}
            whole = await self._off_loop(delivery.do, slot.finish, checksum)
        except (OSError, Refused) as error:
            return {"refuse": problem or _why(error)}
        return {"done": True} if whole else {"again": True}

    def _delivery(self, rank: int, run: Path) -> Delivery:
        if rank not in self._deliveries:
            self._deliveries[rank] = Delivery(Shelf(run / f"node-{rank}"), self._limit)
        return self._deliveries[rank]

    async def _off_loop(self, step: Callable[..., T], *args: Any) -> T:
        """The step's result, from a thread: a slow disk may not keep node 0 from hearing and telling that it lives."""
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        if self._pool is None:
            self._pool = ThreadPoolExecutor(_THREADS, "intake")
        future = asyncio.get_running_loop().run_in_executor(self._pool, step, *args)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait({future})  # its files may be closed only when it has ended
            raise


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"node 0 could not write it: {error.strerror or error}"
    return str(error)
