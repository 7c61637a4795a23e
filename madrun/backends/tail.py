"""The last lines of a log."""

from __future__ import annotations

import os
from typing import BinaryIO

_CHUNK = 1 << 20


def start_of_last(file: BinaryIO, lines: int) -> int:
    """Where the last lines of a file begin; a line that is not ended yet counts."""
    end = position = file.seek(0, os.SEEK_END)
    if lines <= 0:
        return end
    wanted = lines
    while position > 0:
        size = min(_CHUNK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        if position + size == end and block.endswith(b"\n"):
            block = block[:-1]
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            wanted -= 1
            if wanted == 0:
                return position + at + 1
    return 0
