"""How a node makes itself known to node 0, and how far its clock is from node 0's."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from madrun.errors import ContextError, MadrunError, NodesError
from madrun.node.channel.auth import NODE, NODE_0, Keys, dial_proof, nonce, proof, same, session
from madrun.node.channel.protocol import GREETING_S, VERSION, Message, NotOurs, encode, text_of
from madrun.node.channel.wire import Wire

Pause = Callable[[], None]
_TICK_S = 0.1
_PINGS = 2
_PING_S = 2.0
_GOOD_S = 0.02  # a round trip that tells the time well enough
WELCOME_DIAL: Message = {"type": "ok"}
_WHAT_TO_DO = "export the same MADRUN_SECRET on every node, or on none"


class NotYet(Exception):
    """Somebody took the connection and ended it, or said nothing: it may be worth another try."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The keys of a node that node 0 has let in; how long its last answer took, and what node 0's clock said."""

    keys: Keys
    took_s: float
    offset_s: float


def greet(wire: Wire, hello: Message, secret: bytes, pause: Pause) -> Accepted:
    """Makes a node known. `ContextError` where the secrets differ, `NodesError` where node 0 refuses it."""
    hello = {**hello, "nonce": nonce()} if secret else hello
    line, place = encode(hello), "{} port {}".format(*wire.connection.getpeername()[:2])
    try:
        asked, answer = _ask(wire, hello, pause)
        challenge = str(answer.get("nonce", "")) if answer["type"] == "challenge" else ""
        if challenge and secret:
            reply = {"type": "answer", "proof": proof(secret, NODE, line, challenge)}
            asked, answer = _ask(wire, reply, pause)
    except OSError as error:
        raise NotYet(error.strerror or str(error)) from None
    except NotOurs:
        raise _foreign(place) from None
    if answer["type"] == "refuse":
        raise _refused(answer)
    took = time.monotonic() - asked[1]
    try:
        theirs = float(text_of(answer, "at"))
        keys = _keys(answer, secret, line, challenge)
    except (NotOurs, ValueError):
        raise _foreign(place) from None
    return Accepted(keys, took, asked[0] + took / 2 - theirs)


def _keys(answer: Message, secret: bytes, line: bytes, challenge: str) -> Keys:
    """`ContextError` where the other side does not prove what it should."""
    if answer["type"] != "welcome":
        raise NotOurs("no welcome")
    if not secret:
        return Keys(b"", b"", bytes.fromhex(text_of(answer, "token")))
    expected = proof(secret, NODE_0, line, challenge + text_of(answer, "at"))
    if not challenge or not same(answer.get("proof"), expected):
        raise ContextError(f"MADRUN_SECRET: what answers as node 0 did not prove that it knows it; {_WHAT_TO_DO}")
    return session(secret, line, challenge)


def _ask(wire: Wire, message: Message, pause: Pause) -> tuple[tuple[float, float], Message]:
    """When it was asked, by both clocks, and the answer."""
    asked = time.time(), time.monotonic()
    wire.send(message)
    return asked, _answer(wire, pause)


def _answer(wire: Wire, pause: Pause) -> Message:
    deadline = time.monotonic() + GREETING_S
    wire.connection.settimeout(_TICK_S)
    while True:
        try:
            answer = wire.receive()
        except TimeoutError:
            pause()
            if time.monotonic() > deadline:
                raise NotYet("it takes the connection and says nothing") from None
            continue
        if answer is None:
            raise NotYet("it takes the connection and ends it")
        return answer


def _refused(answer: Message) -> MadrunError:
    reason = "".join(c for c in str(answer.get("reason", ""))[:2000] if c.isprintable())
    if answer.get("kind") == "secret":
        return ContextError(f"MADRUN_SECRET: {reason}; {_WHAT_TO_DO}")
    return NodesError(f"node 0 refused this node: {reason}")


def _foreign(place: str) -> NodesError:
    return NodesError(
        f"what answers at {place} is no node 0 of a madrun with this protocol; is MASTER_ADDR the host of node 0, "
        "and is CONTROL_PORT (MASTER_PORT + 1 unless given) the same on every node?"
    )


def measure_offset(wire: Wire, accepted: Accepted, take: Callable[[Message], None]) -> float:
    """This host's clock minus node 0's in seconds, by the quickest answer; asks again while all took long.

    Other messages that come in between are given to `take`.
    """
    found = [(accepted.took_s, accepted.offset_s)]
    wire.connection.settimeout(_PING_S)
    try:
        for number in range(_PINGS):
            if min(found)[0] < _GOOD_S:
                break
            asked, started = time.time(), time.monotonic()
            wire.send({"type": "ping", "n": number})
            theirs = _pong(wire, number, take)
            took = time.monotonic() - started
            found.append((took, asked + took / 2 - theirs))
    except (OSError, NotOurs, KeyError, TypeError, ValueError):
        pass  # the listening thread will say what is wrong with the connection
    return min(found)[1]


def _pong(wire: Wire, number: int, take: Callable[[Message], None]) -> float:
    while (message := wire.receive()) is not None:
        if message["type"] == "pong" and message.get("n") == number:
            return float(message["at"])
        take(message)
    raise NotOurs("its connection ended")


def dial(address: tuple[str, int], rank: int, keys: Keys, purpose: str, number: int) -> socket.socket:
    """A further connection of an accepted node, greeted; `OSError` where there is none to be had."""
    connection = socket.create_connection(address, timeout=GREETING_S)
    greeting = {"type": "dial", "protocol": VERSION, "node_rank": rank, "purpose": purpose, "number": number}
    try:
        connection.sendall(encode({**greeting, "proof": dial_proof(keys, purpose, number)}))
        answer = _first_line(connection)
    except OSError as error:
        connection.close()
        raise OSError(f"node 0 did not answer a further connection ({error.strerror or error})") from None
    if answer != encode(WELCOME_DIAL):
        connection.close()
        raise OSError("node 0 refused a further connection")
    connection.settimeout(None)
    return connection


def _first_line(connection: socket.socket) -> bytes:
    """Not a byte more than the line: what follows belongs to whoever dialled."""
    line = b""
    while not line.endswith(b"\n") and len(line) < 1000:
        byte = connection.recv(1)
        if not byte:
            break
        line += byte
    return line
