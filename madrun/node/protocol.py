"""Messages between nodes: one JSON object a line, UTF-8, with a `type`; strangers' bytes raise `NotOurs`."""

from __future__ import annotations

import json
from typing import Any

VERSION = 2
LINE_LIMIT = 8 << 20
BEAT_S = 1.0
SILENCE_S = 8.0
Message = dict[str, Any]


class NotOurs(Exception):
    """The bytes are no message of this protocol."""


def encode(message: Message) -> bytes:
    """One line; text that JSON keeps in one line whatever it holds."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line; `NotOurs` where it is none."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise NotOurs("not JSON") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise NotOurs("not a message")
    return message


def hello(node_rank: int, nnodes: int, hostname: str) -> Message:
    """The first message of a node: who it is and how many it expects. Its jobs follow at the first stage."""
    return {
        "type": "hello",
        "protocol": VERSION,
        "node_rank": node_rank,
        "nnodes": nnodes,
        "hostname": hostname,
    }
