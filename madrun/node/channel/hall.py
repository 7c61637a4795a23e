"""What the connections to node 0 mean: strangers, members, doors. All of it runs in the server's event loop."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from madrun.node.channel.assembly import Assembly, Judge, Outbox, abort
from madrun.node.channel.auth import NODE, NODE_0, Keys, dial_proof, nonce, proof, same, session
from madrun.node.channel.boundary import guarded
from madrun.node.channel.caller import Caller
from madrun.node.channel.greeting import WELCOME_DIAL
from madrun.node.channel.notices import Notices
from madrun.node.channel.protocol import (
    BEAT_S,
    GREETING_LIMIT,
    GREETING_S,
    QUEUE_LIMIT,
    SILENCE_S,
    VERSION,
    Message,
    NotOurs,
    encode,
    is_hello,
    text_of,
)
from madrun.spec.codec import from_plain
from madrun.spec.record import Failure
from madrun.spec.validation import Invalid

Door = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
STRANGERS = 256  # connections that may wait to be known, besides one for each node
_TICK_S = 0.25
LEAVE_S = 1.0  # how long node 0 stays at the end for nodes to leave
_DOORS = 16  # further connections of one node at a time
_STATUS_ENTRIES = 64
_FEW = 16  # so many nodes hear of each newcomer at once


class PartyHall:
    """Strangers are dropped after a while; what they send never reaches the assembly."""

    def __init__(self, nnodes: int, judges: Mapping[str, Judge], doors: Mapping[str, Door], secret: bytes) -> None:
        self.assembly = Assembly(nnodes, judges)
        self.board: dict[int, Message] = {}
        self.notices = Notices()
        self.callers: set[Caller] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._doors, self._secret = doors, secret
        self._strangers: dict[Caller, float] = {}
        self._members: dict[int, Caller] = {}
        self._most_strangers = STRANGERS + nnodes
        self._news: set[str] = set()
        self._closing = False

    def arrived(self, caller: Caller) -> None:
        """A stranger more; the one that has said nothing for longest has to make room where there are too many."""
        self.callers.add(caller)
        if self._closing:
            caller.drop()
        self._strangers[caller] = time.monotonic() + GREETING_S
        if len(self._strangers) > self._most_strangers:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.drop()

    def left(self, caller: Caller, reason: str) -> None:
        """The connection has ended, or has to."""
        self.callers.discard(caller)
        self._strangers.pop(caller, None)
        rank = caller.rank
        if rank is not None and self._members.get(rank) is caller:
            del self._members[rank]
            self._act(lambda: self.assembly.lost(rank, reason))

    def heard(self, caller: Caller, message: Message, line: bytes) -> None:
        """A message of a member, or of somebody who wants to be one."""
        if caller.rank is not None:
            self._member(caller.rank, caller, message, line)
            return

        def found(trace: str) -> None:  # a run does not end by what a stranger sends, whatever it finds
            self.notices.add(f"a defect of madrun, found by what {caller.address} sent:\n{trace}")
            last = trace.strip().rpartition("\n")[2]
            self._refuse(caller, f"a defect of madrun on node 0, which shows where it is ({last})", "defect")

        guarded(lambda: self._stranger(caller, message, line), found)

    def _stranger(self, caller: Caller, message: Message, line: bytes) -> None:
        kind = message["type"]
        if kind == "hello" and caller.greeting is None:
            self._hello(caller, message, line)
        elif kind == "answer" and caller.greeting is not None:
            self._answer(caller, caller.greeting, message)
        elif kind == "dial" and caller.greeting is None:
            self._dial(caller, message)
        else:
            raise NotOurs("out of turn")

    def _hello(self, caller: Caller, message: Message, line: bytes) -> None:
        theirs = "nonce" in message
        if type(message.get("protocol")) is not int:
            raise NotOurs("no hello")
        if message["protocol"] != VERSION:
            self._refuse(caller, self.assembly.hello(message)[1], "")
        elif not is_hello(message):
            raise NotOurs("no hello")
        elif theirs != bool(self._secret):
            self.notices.add(f"{caller.address} tried to join {'with' if theirs else 'without'} a MADRUN_SECRET")
            one, other = ("node 0 was", "this node was not") if self._secret else ("this node was", "node 0 was not")
            self._refuse(caller, f"{one} started with one, {other}", "secret")
        elif self._secret:
            caller.greeting, caller.line, caller.challenge = message, line, nonce()
            caller.send(encode({"type": "challenge", "nonce": caller.challenge}))
        else:
            token = nonce()
            self._enter(caller, message, Keys(b"", b"", bytes.fromhex(token)), {"token": token, "at": _clock()})

    def _answer(self, caller: Caller, greeting: Message, message: Message) -> None:
        if not same(message.get("proof"), proof(self._secret, NODE, caller.line, caller.challenge)):
            self.notices.add(f"{caller.address} tried to join with another MADRUN_SECRET")
            self._refuse(caller, "it differs from the one that node 0 was started with", "secret")
            return
        keys = session(self._secret, caller.line, caller.challenge)
        at = _clock()
        proven = proof(self._secret, NODE_0, caller.line, caller.challenge + at)
        self._enter(caller, greeting, keys, {"proof": proven, "at": at})

    def _enter(self, caller: Caller, greeting: Message, keys: Keys, welcome: Message) -> None:
        rank, reason, outbox = self.assembly.hello({**greeting, "elsewhere": caller.elsewhere})
        if rank is None:
            self._refuse(caller, reason, "")
            self.send(outbox)
            return
        del self._strangers[caller]
        caller.send(encode({"type": "welcome", **welcome}))
        caller.join(rank, keys)
        self._members[rank] = caller
        self._news = {"node 0", "others"}
        if self.assembly.nnodes <= _FEW:
            self._tell_news(others=True)

    def _refuse(self, caller: Caller, reason: str, kind: str) -> None:
        self._strangers.pop(caller, None)
        if reason:
            caller.send(encode({"type": "refuse", "reason": reason, "kind": kind}))
        else:
            self.notices.add(f"{caller.address} came with a run, and was left waiting for its own node 0")
        caller.end()

    def _dial(self, caller: Caller, message: Message) -> None:
        rank, number, purpose = message.get("node_rank"), message.get("number"), text_of(message, "purpose")
        member = self._members.get(rank) if isinstance(rank, int) else None
        door = self._doors.get(purpose)
        if member is None or member.keys is None or door is None or not isinstance(number, int):
            raise NotOurs("nobody we know")
        if number in member.dialled or not same(message.get("proof"), dial_proof(member.keys, purpose, number)):
            raise NotOurs("nobody we know")
        if member.doors >= _DOORS:
            raise NotOurs("too many connections")
        member.dialled.add(number)
        del self._strangers[caller]
        caller.send(encode(WELCOME_DIAL))
        loop = asyncio.get_running_loop()
        self.callers.discard(caller)
        task = loop.create_task(self._behind(door, member, caller.hand_over(loop)))
        self.tasks.add(task)
        task.add_done_callback(self._came_back)

    def _came_back(self, task: asyncio.Task[None]) -> None:
        """A door has closed; a defect behind it is said, and ends no run."""
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.notices.add(f"a defect of madrun, in what a node sent:\n{''.join(traceback.format_exception(error))}")

    async def _behind(
        self, door: Door, member: Caller, stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        assert member.rank is not None
        member.doors += 1
        try:
            await door(member.rank, *stream)
        except OSError:
            pass  # the node at the other end sees it too, and says what it could not deliver
        finally:
            member.doors -= 1
            stream[1].close()
            with suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(stream[1].wait_closed(), 1)

    def _member(self, rank: int, caller: Caller, message: Message, line: bytes) -> None:
        kind = message["type"]
        if kind == "reach":
            stage, final = text_of(message, "stage"), bool(message.get("final"))
            self._act(lambda: self.assembly.reach(rank, stage, message.get("payload"), final))
        elif kind == "fail":
            try:
                failure = from_plain(Failure, message.get("failure"))
            except (Invalid, TypeError, ValueError) as error:
                raise NotOurs(str(error)) from None
            self._act(lambda: self.assembly.fail(failure))
        elif kind == "beat" and isinstance(message.get("status"), dict):
            told = self.board.get(rank, {}) | message["status"]
            if len(told) > _STATUS_ENTRIES or len(line) > GREETING_LIMIT:
                raise NotOurs("a status without end")
            self.board[rank] = told
        elif kind == "ping":
            caller.send(encode({"type": "pong", "n": message.get("n"), "at": time.time()}))
        elif kind == "bye":
            self.left(caller, "it left")
            caller.end()

    def part(self) -> None:
        """Waits no longer for nodes that have not come to the end that all others wait at."""
        for rank in self.assembly.awaited():
            caller = self._members.get(rank)
            if caller is not None and rank != 0:
                self.left(caller, "node 0 was told not to wait for it")
                caller.drop()

    def _act(self, step: Callable[[], Outbox]) -> None:
        """Whatever goes wrong while node 0 judges ends the run on every node, instead of keeping them waiting."""
        guarded(lambda: self.send(step()), self.defect)

    def defect(self, text: str) -> None:
        """Node 0 cannot go on, and no node may wait for it."""
        self.send(self.assembly.fail(Failure(kind="internal", text=f"a defect of madrun on node 0:\n{text}", node=0)))

    def send(self, outbox: Outbox) -> None:
        """Queues messages; a node that has let too many pile up is lost."""
        lines: dict[int, bytes] = {}
        for rank, message in outbox:
            caller = self._members.get(rank)
            if caller is None:
                continue
            if id(message) not in lines:
                lines[id(message)] = encode(message)
            caller.send(lines[id(message)])
            if rank != 0 and caller.transport.get_write_buffer_size() > QUEUE_LIMIT:
                self.left(caller, "it does not read what it is sent")
                caller.drop()

    def _tell_news(self, others: bool) -> None:
        roll = self.assembly.roll()
        ranks = [rank for rank in self._members if others or rank == 0]
        self._news -= {"node 0", "others"} if others else {"node 0"}
        self.send([(rank, roll) for rank in ranks])

    async def keep(self) -> None:
        """Beats, drops strangers that say nothing, and misses members that do not beat; until it is cancelled."""
        beat, last, count = encode({"type": "beat"}), time.monotonic(), 0
        while True:
            await asyncio.sleep(_TICK_S)
            now, count = time.monotonic(), count + 1
            for stranger in [caller for caller, limit in self._strangers.items() if limit < now]:
                del self._strangers[stranger]
                stranger.drop()
            whole = count % round(BEAT_S / _TICK_S) == 0
            if self._news and (whole or "node 0" in self._news):
                self._tell_news(others=whole)
            if whole:
                for member in list(self._members.values()):
                    member.send(beat)
                if now - last < 3 * BEAT_S:  # else it was this process that stood still
                    self._miss(now)
                last = now

    def _miss(self, now: float) -> None:
        for caller in [caller for caller in self._members.values() if now - caller.heard_at > SILENCE_S]:
            self.left(caller, f"not heard of for {SILENCE_S:g} s")
            if self.assembly.failure is None or caller.transport.get_write_buffer_size():
                caller.drop()
                continue
            caller.send(encode(abort(self.assembly.failure)))  # should it wake up, it hears why it is alone
            caller.end()

    async def close(self) -> None:
        """Ends every connection when its last messages have gone out and the node has left, within `LEAVE_S`."""
        self._closing = True
        for task in list(self.tasks):
            task.cancel()
        self._members.clear()
        for caller in list(self.callers):
            caller.end() if caller.rank is None else caller.finish()
        deadline = time.monotonic() + LEAVE_S
        while self.callers and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        for caller in list(self.callers):
            caller.drop()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.sleep(0.005)  # the sockets of the last are closed in the loop's next round


def _clock() -> str:
    return f"{time.time():.6f}"
