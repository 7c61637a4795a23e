"""Proof that both ends of a connection know MADRUN_SECRET, and seals on every message after that.

The secret never travels: node 0 sends a number that was never used before, the node answers with the HMAC-SHA256 of
it, of its hello and of the secret, and node 0 proves itself in the same way. Both then have a key for this connection
alone; with it every message is sealed in its direction and at its place. Nothing is encrypted.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass

from madrun.node.channel.protocol import NotOurs

NODE, NODE_0 = "node", "node 0"  # who proves: one proof is never the other
_SEAL = 32  # characters of a seal: 128 bits


def nonce() -> str:
    """A number that nobody has used before, as text."""
    return os.urandom(16).hex()


def digest(key: bytes, *parts: str | bytes) -> bytes:
    """HMAC-SHA256 of the parts, each with its length, so that no two lists of parts look alike."""
    whole = [part.encode() if isinstance(part, str) else part for part in parts]
    return hmac.digest(key, b"".join(len(part).to_bytes(8, "big") + part for part in whole), "sha256")


def proof(secret: bytes, who: str, hello: bytes, challenge: str) -> str:
    """What shows that `who` knows the secret, for this hello and this challenge alone."""
    return digest(secret, "proof", who, hello, challenge).hex()


def same(given: object, expected: str) -> bool:
    """Whether a proof is the expected one, in a time that tells nothing of it."""
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="replace"), expected.encode())


class Seals:
    """Counts the messages of one direction, and seals each with key, place and content."""

    def __init__(self, key: bytes) -> None:
        self._key, self._count = key, 0

    def _next(self, line: bytes | bytearray) -> bytes:
        seal = hmac.digest(self._key, self._count.to_bytes(8, "big") + line, "sha256")
        self._count += 1
        return seal.hex()[:_SEAL].encode()

    def close(self, line: bytes) -> bytes:
        """The line as it travels."""
        return self._next(line) + line

    def open(self, line: bytes | bytearray) -> bytes | bytearray:
        """The line as it was sent; `NotOurs` where it was changed, left out, sent again or sent by another."""
        content = line[_SEAL:]
        if not hmac.compare_digest(bytes(line[:_SEAL]), self._next(content)):
            raise NotOurs("its seal is wrong")
        return content


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one member: two directions, absent without a secret, and one for further connections."""

    up: bytes
    down: bytes
    dial: bytes


def session(secret: bytes, hello: bytes, challenge: str) -> Keys:
    """Keys for one connection between two that know the secret."""
    key = digest(secret, "session", hello, challenge)
    return Keys(digest(key, "up"), digest(key, "down"), digest(key, "dial"))


def dial_proof(keys: Keys, purpose: str, number: int) -> str:
    """What shows that a further connection comes from this member; each number counts once."""
    return digest(keys.dial, "dial", purpose, str(number)).hex()
