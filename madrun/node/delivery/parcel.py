"""How files travel between nodes: a header line, then frames; the same for both ends, and no socket.

    node n -> node 0   {"name": "ranks/rank-3.log", "kind": "file", "size": 1234, "mode": 420, "link": ""}
    node 0 -> node n   {"have": 400}, or {"refuse": "reason"}, with "over": true where no further file is wanted
    node n -> node 0   frames from byte 400 on, an empty frame, {"sha256": "..."}
    node 0 -> node n   {"done": true}, {"again": true} where the hash differs, or {"refuse": "reason"}

A frame: one byte that says whether it is compressed, four bytes of length, the bytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

RAW = 256 << 10  # the most that one frame holds, as it is in the file
HEAD = struct.Struct(">BI")
PLAIN, PACKED = 0, 1
LINE_LIMIT = 60 << 10  # the longest name and link, each byte as JSON spells what is no text
MOST_PACKED = RAW + 1024
KINDS = ("file", "link", "dir")
_SAMPLE = 8 << 10
_DEEPEST, _LONGEST_WORD, _LONGEST_NAME = 32, 255, 3000  # in bytes
_LONGEST_LINK = 4096
_PERMISSIONS = 0o777


class Garbled(Exception):
    """What came is not of this form, or not allowed; the text says what and where."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to bring: a file of so many bytes, a link as it is, or an empty directory."""

    name: str
    kind: str = "file"
    size: int = 0
    mode: int = 0o644
    link: str = ""

    @property
    def words(self) -> list[str]:
        """The parts of the name."""
        return self.name.split("/")


def line_of(message: dict[str, Any]) -> bytes:
    """One line of JSON; names that are no text survive."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def parse_line(line: bytes) -> dict[str, Any]:
    """The message in a line; `Garbled` where there is none, or no whole line."""
    if not line.endswith(b"\n") or len(line) > LINE_LIMIT:
        raise Garbled("a line without an end")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise Garbled("a line that is no JSON") from None
    if not isinstance(message, dict):
        raise Garbled("a line that is no message")
    return message


def header(item: Item) -> bytes:
    """The line that announces the item."""
    return line_of({"name": item.name, "kind": item.kind, "size": item.size, "mode": item.mode, "link": item.link})


def parse_header(message: dict[str, Any]) -> Item:
    """The item that is announced; `Garbled` where its name leads anywhere but below its node's directory."""
    name, kind, link = message.get("name"), message.get("kind"), message.get("link", "")
    size, mode = message.get("size", 0), message.get("mode", 0)
    if not isinstance(name, str) or not isinstance(link, str) or kind not in KINDS:
        raise Garbled("a header without name or kind")
    if type(size) is not int or type(mode) is not int or size < 0:
        raise Garbled(f"{name[:80]!r} with a size or mode that is no number")
    item = Item(name, kind, size if kind == "file" else 0, mode & _PERMISSIONS | 0o600, link)
    problem = name_problem(item)
    if problem:
        raise Garbled(f"{name[:80]!r} {problem}")
    return item


def name_problem(item: Item) -> str:
    """Why nothing may be written under this name; empty where it may."""
    words = item.words
    try:
        sizes = [len(word.encode("utf-8", "surrogateescape")) for word in words]
        link = len(item.link.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return "is no name of a file"
    too_long = max(sizes) > _LONGEST_WORD or sum(sizes) > _LONGEST_NAME or link > _LONGEST_LINK
    if too_long or len(words) > _DEEPEST:
        return "is too long or too deep"
    if "\0" in item.name + item.link or any(word in ("", ".", "..") for word in words):
        return "leads out of its directory"
    if words[0].startswith("."):
        return "is a name that madrun keeps for itself"
    if item.kind == "link" and not item.link:
        return "is a link to nothing"
    return ""


def pack(chunk: bytes) -> bytes:
    """One frame; compressed where that is worth it. An empty chunk makes the frame that ends a file."""
    if _shrinks(chunk[:_SAMPLE]):  # most large files do not, and trying takes four times as long as sending
        packed = zlib.compress(chunk, 1)
        if len(packed) < len(chunk):
            return HEAD.pack(PACKED, len(packed)) + packed
    return HEAD.pack(PLAIN, len(chunk)) + chunk


def _shrinks(sample: bytes) -> bool:
    return len(zlib.compress(sample, 1)) < len(sample) * 9 // 10


def parse_head(head: bytes) -> tuple[int, int]:
    """Form and length of the frame that follows; `Garbled` where no frame is so."""
    form, length = HEAD.unpack(head)
    if (
        form not in (PLAIN, PACKED)
        or length > (RAW if form == PLAIN else MOST_PACKED)
        or (form == PACKED and not length)
    ):
        raise Garbled(f"a frame of form {form} and {length} bytes")
    return form, length


def unpack(form: int, body: bytes) -> bytes:
    """The bytes of a frame as they were in the file; `Garbled` where they cannot have been."""
    if form == PLAIN:
        return body
    machine = zlib.decompressobj()
    try:
        chunk = machine.decompress(body, RAW)
    except zlib.error as error:
        raise Garbled(f"a frame that is not compressed as it says ({error})") from None
    if not machine.eof or machine.unused_data:
        raise Garbled("a frame of another length than it may have")
    return chunk
