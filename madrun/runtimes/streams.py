"""Output of a container or process to a sink, without holding more than one read in memory."""

from __future__ import annotations

import socket

from madrun.runtimes.box import Sink

_READ = 1 << 20
_HEADER = 8


def copy_frames(source: socket.socket, sink: Sink) -> None:
    """Engine API attach stream to the sink until it ends; stdout and stderr in order of arrival.

    Frame: one byte of stream, three of zero, four of length (big endian), then the payload.
    """
    buffer = bytearray(_READ)
    view = memoryview(buffer)
    kept = 0
    remaining = 0
    while True:
        try:
            count = source.recv_into(view[kept:])
        except (ConnectionResetError, OSError):
            return
        if not count:
            return
        end = kept + count
        position, remaining, parts = _payloads(view, end, remaining)
        if parts:
            sink(parts[0].tobytes() if len(parts) == 1 else b"".join(parts))
        kept = end - position
        if kept:
            buffer[:kept] = bytes(view[position:end])


def _payloads(view: memoryview, end: int, remaining: int) -> tuple[int, int, list[memoryview]]:
    """Payload slices in view[:end]; how far was read; how much of the last frame is still to come."""
    position, parts = 0, []
    while position < end:
        if not remaining:
            if end - position < _HEADER:
                break
            remaining = int.from_bytes(view[position + 4 : position + _HEADER], "big")
            position += _HEADER
        size = min(remaining, end - position)
        if size:
            parts.append(view[position : position + size])
        position += size
        remaining -= size
    return position, remaining, parts
