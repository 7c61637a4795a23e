"""A node's end of the control channel; with one node the same calls without a socket."""

from __future__ import annotations

import errno
import itertools
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Protocol

from madrun.errors import ContextError, NodesError
from madrun.node.channel.assembly import Judge, ends_a_run, pass_all
from madrun.node.channel.auth import Keys
from madrun.node.channel.greeting import dial, greet, measure_offset
from madrun.node.channel.protocol import BEAT_S, SILENCE_S, Message, NotOurs
from madrun.node.channel.wire import Wire
from madrun.spec.codec import from_plain, to_plain
from madrun.spec.record import Failure

Waiting = Callable[[str, str], None]
Board = Callable[[], dict[int, Message]]
Pause = Callable[[], None]
_TICK_S = 0.1
_LEAVE_S = 1.0


class Aborted(Exception):
    """The run was ended for all nodes; holds the first failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class Link(Protocol):
    """What an agent needs of the other nodes."""

    @property
    def offset_s(self) -> float | None:
        """This host's clock minus node 0's; None where it could not be measured."""

    def tell(self, status: Message) -> None:
        """What this node does, entries that replace those of the same name; node 0 hears of it with the beats."""

    def board(self) -> dict[int, Message]:
        """On node 0 what each node told last, by rank; empty elsewhere."""

    def dial(self, purpose: str) -> socket.socket | None:
        """A further connection to node 0 for this purpose, greeted already; None on node 0 itself. Raises `OSError`."""

    @property
    def failure(self) -> Failure | None:
        """The failure that ended the run for all, once there is one."""

    def meet(self, stage: str, payload: Any = None, final: bool = False) -> tuple[Any, dict[str, Any]]:
        """Waits for all nodes: the judge's data, and on node 0 every payload by rank. Raises `Aborted`."""

    def fail(self, failure: Failure) -> None:
        """Tells all nodes that this one cannot go on."""

    def part(self) -> None:
        """Waits no longer for node 0: whoever meets, meets nobody any more."""

    def stay(self, seconds: float) -> None:
        """Waits until node 0, which writes the results, has left too; for this long at most."""

    def close(self) -> None:
        """Leaves."""


class SoloLink:
    """The link of a job with one node: every stage is reached by all at once."""

    def __init__(self, judges: Mapping[str, Judge]) -> None:
        self.failure: Failure | None = None
        self.offset_s: float | None = 0.0
        self._judges = judges
        self._status: Message = {}

    def tell(self, status: Message) -> None:
        self._status = self._status | status

    def board(self) -> dict[int, Message]:
        return {0: self._status}

    def dial(self, purpose: str) -> socket.socket | None:
        return None

    def meet(self, stage: str, payload: Any = None, final: bool = False) -> tuple[Any, dict[str, Any]]:
        if self.failure is not None and not final:
            raise Aborted(self.failure)
        ruling = self._judges.get(stage.partition("/")[2], pass_all)({0: payload})
        if ruling.failure is not None:
            self.failure = ruling.failure
            raise Aborted(ruling.failure)
        everyone = {"0": payload, "failure": to_plain(self.failure)}
        if ends_a_run(stage):
            self.failure = None
        return ruling.each.get(0, ruling.data), everyone

    def fail(self, failure: Failure) -> None:
        self.failure = self.failure or failure

    def part(self) -> None:
        return

    def stay(self, seconds: float) -> None:
        return

    def close(self) -> None:
        return


class PeerLink:
    """A connection to node 0, which node 0's own agent uses as well; `board` is there on node 0 alone."""

    def __init__(self, connection: socket.socket, waiting: Waiting, pause: Pause, board: Board | None = None) -> None:
        self.failure: Failure | None = None
        self.offset_s: float | None = None
        self._wire = Wire(connection)
        self._waiting, self._pause, self._others = waiting, pause, board
        self._news = threading.Condition()
        self._released: dict[str, Message] = {}
        self._vanished: Failure | None = None
        self._closed = threading.Event()
        self._status: Message = {}
        self._told: Message = {}
        self._rank, self._keys = -1, Keys(b"", b"", b"")
        self._dialled = itertools.count()
        self._listener: threading.Thread | None = None

    def greet(self, hello: Message, secret: bytes = b"") -> None:
        """Makes this node known, and listens from then on; raises what `greeting.greet` does."""
        try:
            accepted = greet(self._wire, hello, secret, self._pause)
            self._keys, self._rank = accepted.keys, int(hello["node_rank"])
            self._wire.protect(self._keys)
            self.offset_s = measure_offset(self._wire, accepted, self._take) if self._rank else 0.0
        except BaseException:
            self._wire.close()
            raise
        self.start()

    def start(self) -> None:
        """Listens and shows that it is alive, from two threads that end with the connection."""
        self._wire.connection.settimeout(SILENCE_S)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        for thread in (self._listener, threading.Thread(target=self._beat, daemon=True)):
            thread.start()

    def tell(self, status: Message) -> None:
        self._status = self._status | status

    def board(self) -> dict[int, Message]:
        return {} if self._others is None else {**self._others(), self._rank: self._status}

    def dial(self, purpose: str) -> socket.socket | None:
        if self._rank == 0:
            return None
        address = self._wire.connection.getpeername()[:2]
        return dial(address, self._rank, self._keys, purpose, next(self._dialled))

    def meet(self, stage: str, payload: Any = None, final: bool = False) -> tuple[Any, dict[str, Any]]:
        self._send({"type": "reach", "stage": stage, "payload": to_plain(payload), "final": final})
        while True:
            with self._news:
                if stage not in self._released:
                    self._news.wait(_TICK_S)
                release = self._released.pop(stage, None)
            if release is not None:
                return release.get("data"), release.get("all", {})
            if self.failure is not None and (self._vanished is not None or not final):
                raise Aborted(self.failure)  # the first failure: it counts more than the end of node 0 that follows
            if not final:
                self._pause()

    def fail(self, failure: Failure) -> None:
        self._send({"type": "fail", "failure": to_plain(failure)})

    def part(self) -> None:
        self._end("this node was told not to wait for it")

    def stay(self, seconds: float) -> None:
        if self._rank > 0 and self._listener is not None:
            self._listener.join(seconds)

    def close(self) -> None:
        self._send({"type": "bye"})
        self._closed.set()
        self._wire.finish()
        if self._listener is not None:
            self._listener.join(_LEAVE_S)  # node 0 ends the connection when it has read all that came before
        self._wire.close()

    def _send(self, message: Message) -> None:
        # the listening thread learns of what went wrong, and says so with more reason
        with suppress(OSError):
            self._wire.send(message)

    def _beat(self) -> None:
        while not self._closed.wait(BEAT_S):
            before, self._told = self._told, self._status
            self._send({"type": "beat"} | ({"status": self._told} if self._told is not before else {}))

    def _listen(self) -> None:
        reason = "its connection ended"
        try:
            while (message := self._wire.receive()) is not None:
                self._take(message)
        except TimeoutError:
            reason = f"not heard of for {SILENCE_S:g} s"
        except (OSError, NotOurs) as error:
            reason = f"its connection broke ({error})"
        except Exception as error:  # whoever waits at a stage would wait for ever if this thread just ended
            reason = f"what it sent could not be understood ({type(error).__name__}: {error})"
        self._end(reason)

    def _end(self, reason: str) -> None:
        with self._news:
            if not self._closed.is_set():
                self._vanished = Failure(kind="node lost", text=f"node 0 was lost: {reason}", node=0)
                self.failure = self.failure or self._vanished
            self._news.notify_all()

    def _take(self, message: Message) -> None:
        kind = message["type"]
        if kind == "waiting":
            self._waiting(str(message["joined"]), str(message["missing"]))
            return
        with self._news:
            if kind == "release":
                self._released[message["stage"]] = message
                if ends_a_run(message["stage"]):
                    self.failure = None
            elif kind == "abort":
                self.failure = self.failure or from_plain(Failure, message["failure"])
            self._news.notify_all()


_NO_HOST = (errno.EHOSTUNREACH, errno.ENETUNREACH)
_TRY_S = 2.0  # for one attempt: a packet that is dropped is then told of within the first seconds
_WHY = {
    errno.ECONNREFUSED: "nobody listens there: node 0 is not started, or CONTROL_PORT (MASTER_PORT + 1) differs",
    errno.ETIMEDOUT: "no answer at all: a firewall, or MASTER_ADDR is not the address of node 0's host",
    errno.EHOSTUNREACH: "no host answers at that address: a wrong MASTER_ADDR, or a firewall",
    errno.ENETUNREACH: "this host has no route to that network",
}


def why(error: OSError) -> str:
    """Why a connection to node 0 did not come about, and what that mostly means."""
    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno
    said = error.strerror or str(error)
    return f"{said}; {_WHY[number]}" if number in _WHY else said


def beside_loopback(address: str) -> str:
    """What to add where the address is that of every machine itself."""
    if not ip_address(address.strip("[]")).is_loopback:
        return ""
    return "; MASTER_ADDR is this very machine: right only where node 0 runs here too, else give node 0's address"


def unreachable(address: str, port: int, error: OSError) -> str:
    """The network itself says that nobody can be reached there: to wait would be in vain."""
    return (
        f"multi_node_args.MASTER_ADDR: found {address}, which this host cannot reach at port {port} "
        f"({why(error)}); allowed: an address that node 0 has and this host reaches. Is its host up, in one network "
        "with this one, and does a firewall let CONTROL_PORT through?"
    )


def connect(address: str, port: int, timeout_s: float, still: Callable[[float, str], None]) -> socket.socket:
    """A connection to node 0, which may start later than this node; `still` hears of it, `NodesError` in the end."""
    started = time.monotonic()
    while True:
        try:
            connection = socket.create_connection((address.strip("[]"), port), timeout=max(0.1, min(timeout_s, _TRY_S)))
            if connection.getsockname() != connection.getpeername():
                return connection
            connection.close()  # on one host a port that nobody listens on can be connected with itself
        except OSError as error:
            waited = time.monotonic() - started
            if error.errno in _NO_HOST:
                raise ContextError(unreachable(address, port, error)) from None
            reason = why(error) + beside_loopback(address)
            if waited >= timeout_s:
                raise NodesError(
                    f"node 0 did not answer at {address} port {port} for {waited:.0f} s ({reason}); is it "
                    "started, is MASTER_ADDR the address of its host, and does a firewall let CONTROL_PORT through?"
                ) from None
            still(waited, reason)
            time.sleep(0.2)
