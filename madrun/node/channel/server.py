"""Node 0's end of the control channel: an asyncio server in a thread of its own, around `PartyHall`."""

from __future__ import annotations

import asyncio
import errno
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from madrun.errors import ContextError
from madrun.node.channel.assembly import Judge
from madrun.node.channel.caller import Caller
from madrun.node.channel.hall import STRANGERS, Door, PartyHall
from madrun.node.channel.protocol import Message

_OTHER_FILES = 256  # of this process: logs, containers, doors


class Server:
    """Listens from construction to `close`; at the first address; at others to say that they are the wrong ones.
    Whoever dials for a purpose is handed to the door of that name."""

    def __init__(
        self,
        at: str | Sequence[str],
        port: int,
        nnodes: int,
        judges: Mapping[str, Judge],
        doors: Mapping[str, Door] | None = None,
        *,
        secret: bytes = b"",
    ) -> None:
        allow_files(2 * nnodes + STRANGERS + _OTHER_FILES)
        self._hall = PartyHall(nnodes, judges, doors or {}, secret)
        self._error: BaseException | None = None
        self._up = threading.Event()
        address, *self._also = [at] if isinstance(at, str) else at
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(address.strip("[]"), port), daemon=True)
        self._thread.start()
        self._up.wait()
        if isinstance(self._error, OSError):
            raise ContextError(_cannot_listen(address, port, self._error))
        if self._error is not None:
            raise self._error

    def board(self) -> dict[int, Message]:
        """What each node told last, by rank."""
        return dict(self._hall.board)

    def notices(self) -> list[str]:
        """What a person should know of strangers at the port; each text once."""
        return self._hall.notices.take()

    def awaited(self) -> list[int]:
        """Who has not come to the end of a run that others wait at, as far as is known."""
        return self._hall.assembly.awaited()

    def part(self) -> None:
        """Waits no longer for nodes that have not come to the end of a run that all others have ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._hall.part)

    def close(self) -> None:
        """Ends the server and every connection, when what was to be sent has gone out."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    def _run(self, address: str, port: int) -> None:
        try:
            self._loop.run_until_complete(self._serve(address, port))
        except BaseException as error:
            self._error = error  # before it listens, whoever made it hears; after that, its connections end
        finally:
            for caller in list(self._hall.callers):
                caller.drop()
            self._up.set()
            self._loop.close()

    async def _serve(self, address: str, port: int) -> None:
        self._stop = asyncio.Event()
        self._loop.set_exception_handler(self._unexpected)
        servers = []
        try:
            servers.append(await self._loop.create_server(lambda: Caller(self._hall), address, port, backlog=4096))
            servers += [found for other in self._also if (found := await self._answer_at(other, port))]
            self._up.set()
            await self._until_stopped()
        finally:
            for server in servers:
                server.close()
            await self._hall.close()

    async def _until_stopped(self) -> None:
        keeping = asyncio.ensure_future(self._hall.keep())
        keeping.add_done_callback(self._kept)
        await self._stop.wait()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    async def _answer_at(self, address: str, port: int) -> asyncio.Server | None:
        """Listens at another address too, where a node that was told that one hears of its mistake at once."""
        with suppress(OSError):
            return await self._loop.create_server(lambda: Caller(self._hall, address), address, port, backlog=64)
        return None

    def _kept(self, keeping: asyncio.Future[None]) -> None:
        if not keeping.cancelled() and (error := keeping.exception()) is not None:
            self._hall.defect("".join(traceback.format_exception(error)))

    def _unexpected(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A defect must be heard of on every node; that a stranger's connection broke, or files ran out, is none."""
        error = context.get("exception")
        if error is not None and not isinstance(error, OSError):
            self._hall.defect("".join(traceback.format_exception(error)))


def allow_files(needed: int) -> None:
    """Lets this process open so many files; `ContextError` with the limit where the host does not."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ContextError(
            f"multi_node_args.NNODES: node 0 needs {needed} open files for its connections, and this host allows "
            f"{hard} (ulimit -Hn); raise that limit on node 0"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _cannot_listen(address: str, port: int, error: OSError) -> str:
    said = error.strerror or str(error)
    what = f"multi_node_args.CONTROL_PORT: node 0 cannot listen on {address} port {port} ({said}); "
    if error.errno == errno.EADDRINUSE:
        return what + (
            "end what listens there, or give another CONTROL_PORT on every node; is it another run's node 0? "
            "give each run its own MASTER_PORT"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return what + "ports below 1024 are for root: give another CONTROL_PORT on every node"
    if error.errno == errno.EADDRNOTAVAIL:
        return what + "MASTER_ADDR is no address of this host, which is node 0 by its NODE_RANK"
    return what + "end what listens there, or give another CONTROL_PORT on every node"
