"""Messages between nodes: one JSON object a line, UTF-8, with a `type`; strangers' bytes raise `NotOurs`."""

from __future__ import annotations

import json
from typing import Any

VERSION = 3
LINE_LIMIT = 8 << 20  # of a member's message
GREETING_LIMIT = 64 << 10  # of all that a connection may send before it is known
GREETING_S = 5.0  # and the time that it has
QUEUE_LIMIT = 32 << 20  # what is kept for a node that does not read
BEAT_S = 1.0
SILENCE_S = 8.0
VISIT = "doctor: "  # begins what a visit of the doctor says in the place of its cards
Message = dict[str, Any]
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder()


class NotOurs(Exception):
    """The bytes are no message of this protocol."""


def encode(message: Message) -> bytes:
    """One line; text that JSON keeps in one line whatever it holds."""
    return _ENCODER.encode(message).encode() + b"\n"


def decode(line: bytes | bytearray) -> Message:
    """The message of one line; `NotOurs` where it is none."""
    try:
        message = _DECODER.decode(line.decode())
    except (ValueError, RecursionError):
        raise NotOurs("not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise NotOurs("not a message")
    return message


def text_of(message: Message, name: str) -> str:
    """The entry of this name, which has to be text; `NotOurs` where it is not."""
    value = message.get(name)
    if not isinstance(value, str):
        raise NotOurs(f"{name} is no text")
    return value


def is_hello(message: Message) -> bool:
    """Whether the message is made as `hello` makes it, in a protocol that is this one; what it says may be wrong."""
    numbers = message.get("node_rank"), message.get("nnodes")
    texts = message.get("hostname"), message.get("run")
    whole = all(type(number) is int for number in numbers) and all(isinstance(text, str) for text in texts)
    return whole and isinstance(message.get("nonce", ""), str)


def hello(node_rank: int, nnodes: int, hostname: str, run: str = "") -> Message:
    """The first message of a node: who it is, how many it expects, and the names of the cards that it is about to run.

    Its jobs follow at the first stage.
    """
    return {
        "type": "hello",
        "protocol": VERSION,
        "node_rank": node_rank,
        "nnodes": nnodes,
        "hostname": hostname,
        "run": run,
    }
