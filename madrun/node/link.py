"""A node's end of the control channel; with one node the same calls without a socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from madrun.errors import NodesError
from madrun.node.assembly import Judge, ends_a_run, pass_all
from madrun.node.protocol import BEAT_S, SILENCE_S, Message, NotOurs, decode, encode
from madrun.spec.codec import from_plain, to_plain
from madrun.spec.record import Failure

Waiting = Callable[[list[int], list[int]], None]
Pause = Callable[[], None]
_TICK_S = 0.1


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

    def close(self) -> None:
        return


class PeerLink:
    """A connection to node 0, which node 0's own agent uses as well."""

    def __init__(self, connection: socket.socket, waiting: Waiting, pause: Pause) -> None:
        self.failure: Failure | None = None
        self._connection = connection
        self._waiting = waiting
        self._pause = pause
        self._news = threading.Condition()
        self._released: dict[str, Message] = {}
        self._refused = ""
        self._vanished: Failure | None = None
        self._closed = False
        self._write = threading.Lock()
        self.offset_s: float | None = None
        self._status: Message = {}
        connection.settimeout(SILENCE_S)
        for target in (self._listen, self._beat):
            threading.Thread(target=target, daemon=True).start()

    def tell(self, status: Message) -> None:
        self._status = self._status | status

    def board(self) -> dict[int, Message]:
        return {}

    def dial(self, purpose: str) -> socket.socket | None:
        return None

    def greet(self, hello: Message) -> None:
        """Sends the hello; what node 0 thinks of it arrives at the first stage."""
        self._send(hello)

    def meet(self, stage: str, payload: Any = None, final: bool = False) -> tuple[Any, dict[str, Any]]:
        self._send({"type": "reach", "stage": stage, "payload": to_plain(payload), "final": final})
        while True:
            with self._news:
                if stage not in self._released:
                    self._news.wait(_TICK_S)
                release = self._released.pop(stage, None)
            if release is not None:
                return release.get("data"), release.get("all", {})
            if self._refused:
                raise NodesError(f"node 0 refused this node: {self._refused}")
            if self.failure is not None and (self._vanished is not None or not final):
                raise Aborted(self.failure)  # the first failure: it counts more than the end of node 0 that follows
            if not final:
                self._pause()

    def fail(self, failure: Failure) -> None:
        self._send({"type": "fail", "failure": to_plain(failure)})

    def close(self) -> None:
        self._send({"type": "bye"})
        self._closed = True
        self._connection.close()

    def _send(self, message: Message) -> None:
        try:
            with self._write:
                self._connection.sendall(encode(message))
        except OSError:
            return  # the listening thread learns of it, and says so with more reason

    def _beat(self) -> None:
        while not self._closed:
            time.sleep(BEAT_S)
            self._send({"type": "beat"})

    def _listen(self) -> None:
        reason = "its connection ended"
        try:
            with self._connection.makefile("rb") as lines:
                for line in lines:
                    self._take(decode(line))
        except TimeoutError:
            reason = f"not heard of for {SILENCE_S:g} s"
        except (OSError, ValueError, NotOurs) as error:
            reason = f"its connection broke ({error})"
        with self._news:
            if not self._closed and not self._refused:
                self._vanished = Failure(kind="node lost", text=f"node 0 was lost: {reason}", node=0)
                self.failure = self.failure or self._vanished
            self._news.notify_all()

    def _take(self, message: Message) -> None:
        kind = message["type"]
        if kind == "waiting":
            self._waiting(message["joined"], message["missing"])
            return
        with self._news:
            if kind == "release":
                self._released[message["stage"]] = message
                if ends_a_run(message["stage"]):
                    self.failure = None
            elif kind == "abort":
                self.failure = self.failure or from_plain(Failure, message["failure"])
            elif kind == "refuse":
                self._refused = str(message["reason"])
            self._news.notify_all()


def connect(address: str, port: int, timeout_s: float, still: Callable[[float, str], None]) -> socket.socket:
    """A connection to node 0, which may start later than this node; `still` hears of it, `NodesError` in the end."""
    started = time.monotonic()
    while True:
        try:
            return socket.create_connection((address, port), timeout=min(timeout_s, 5))
        except OSError as error:
            waited = time.monotonic() - started
            reason = error.strerror or str(error)
            if waited >= timeout_s:
                raise NodesError(
                    f"node 0 did not answer at {address} port {port} for {waited:.0f} s ({reason}); is it started, "
                    "is MASTER_ADDR the address of its host, and does a firewall let CONTROL_PORT through?"
                ) from None
            still(waited, reason)
            time.sleep(0.2)
