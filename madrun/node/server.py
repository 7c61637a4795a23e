"""Node 0's end of the control channel: an asyncio server in a thread of its own, around `Assembly`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from madrun.errors import ContextError
from madrun.node.assembly import Assembly, Judge, Outbox
from madrun.node.protocol import BEAT_S, LINE_LIMIT, SILENCE_S, NotOurs, decode, encode
from madrun.spec.codec import from_plain
from madrun.spec.record import Failure
from madrun.spec.validation import Invalid

_HELLO_TIMEOUT_S = 5.0


class Server:
    """Listens from construction to `close`. Strangers are dropped; what they send never reaches the assembly."""

    def __init__(self, address: str, port: int, nnodes: int, judges: Mapping[str, Judge]) -> None:
        self._assembly = Assembly(nnodes, judges)
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._heard: dict[int, float] = {}
        self._error: OSError | None = None
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(address, port), daemon=True)
        self._thread.start()
        self._up.wait()
        if self._error is not None:
            raise ContextError(
                f"multi_node_args.CONTROL_PORT: node 0 cannot listen on {address} port {port} "
                f"({self._error.strerror}); end what listens there, or give another CONTROL_PORT on every node"
            )

    def close(self) -> None:
        """Ends the server and every connection."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def _run(self, address: str, port: int) -> None:
        try:
            self._loop.run_until_complete(self._serve(address, port))
        finally:
            self._up.set()
            self._loop.close()

    async def _serve(self, address: str, port: int) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        try:
            server = await asyncio.start_server(self._accept, address, port, limit=LINE_LIMIT, backlog=1024)
        except OSError as error:
            self._error = error
            return
        self._up.set()
        beats = asyncio.ensure_future(self._beat())
        await self._stop.wait()
        beats.cancel()
        server.close()
        for writer in list(self._writers.values()):
            with suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(writer.drain(), 1)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(beats, *self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            rank = await self._greet(reader, writer)
            if rank is not None:
                await self._listen(rank, reader)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int | None:
        try:
            message = decode(await asyncio.wait_for(reader.readline(), _HELLO_TIMEOUT_S))
        except (NotOurs, ValueError, OSError, asyncio.TimeoutError):
            return None
        if message["type"] != "hello":
            return None
        rank, reason, outbox = self._assembly.hello(message)
        if rank is None:
            writer.write(encode({"type": "refuse", "reason": reason}))
            self._send(outbox)
            with suppress(OSError):
                await writer.drain()
            return None
        self._writers[rank] = writer
        self._heard[rank] = time.monotonic()
        self._send(outbox)
        return rank

    async def _listen(self, rank: int, reader: asyncio.StreamReader) -> None:
        reason = "its connection ended"
        try:
            while line := await reader.readline():
                self._heard[rank] = time.monotonic()
                message = decode(line)
                if message["type"] == "bye":
                    reason = "it left"
                    break
                self._take(rank, message)
        except ValueError:  # of readline: decode has its own
            reason = f"it sent a message longer than {LINE_LIMIT >> 20} MiB"
        except (NotOurs, Invalid, KeyError, TypeError) as error:
            reason = f"it sent what is no message ({error})"
        except OSError as error:
            reason = f"its connection broke ({error.strerror})"
        self._writers.pop(rank, None)
        self._send(self._assembly.lost(rank, reason))

    def _take(self, rank: int, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "reach":
            final = bool(message.get("final"))
            self._send(self._assembly.reach(rank, str(message["stage"]), message.get("payload"), final))
        elif kind == "fail":
            self._send(self._assembly.fail(from_plain(Failure, message["failure"])))

    def _send(self, outbox: Outbox) -> None:
        for rank, message in outbox:
            writer = self._writers.get(rank)
            if writer is not None:
                writer.write(encode(message))

    async def _beat(self) -> None:
        beat = encode({"type": "beat"})
        while True:
            await asyncio.sleep(BEAT_S)
            for writer in list(self._writers.values()):
                writer.write(beat)
            now = time.monotonic()
            for rank in [rank for rank in self._writers if now - self._heard[rank] > SILENCE_S]:
                self._writers.pop(rank).transport.abort()
                self._send(self._assembly.lost(rank, f"not heard of for {SILENCE_S:g} s"))
