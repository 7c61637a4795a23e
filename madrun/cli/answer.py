"""The last write to a stream: a reader that has gone is no failure, a disk that is full is one."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

OUTPUT_LOST = 2  # as usage errors; errors.py is not loaded where nothing else of madrun is


def write_out(stream: TextIO, text: str, code: int) -> int:
    """Writes the text and what is left in the stream; the exit code, which is no success where that was lost."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        return code  # the reader has gone: nothing is left to say
    except OSError as error:
        with suppress(OSError, ValueError):  # what the stream still holds would fail again at the next flush
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        with suppress(OSError):
            sys.stderr.write(f"madrun: error: the output could not be written: {error.strerror}\n")
        return code or OUTPUT_LOST
    return code
