"""The lease of a node that another host has started: it ends with its standard input, or when that falls silent.

Measured for ssh: neither a killed client nor a cut network ends what it started; the end of its input does at once, and
silence does where the network is cut.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Mapping

from madrun.spec.launch import LEASE, SILENCE_S

_READ = 4096


def keep_lease(env: Mapping[str, str] = os.environ, silence_s: float = SILENCE_S) -> threading.Thread | None:
    """Where the environment asks for it, a thread that sends this process SIGTERM once nobody holds its input."""
    if env.get(LEASE) != "stdin":
        return None
    source = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # nothing that is started here may take a beat
    os.close(null)
    thread = threading.Thread(target=_watch, args=(source, silence_s), name="lease", daemon=True)
    thread.start()
    return thread


def _watch(source: int, silence_s: float) -> None:
    heard = time.monotonic()
    while True:
        ready, _, _ = select.select([source], [], [], max(heard + silence_s - time.monotonic(), 0.0))
        if not ready or not _read(source):
            os.kill(os.getpid(), signal.SIGTERM)
            return
        heard = time.monotonic()


def _read(source: int) -> bytes:
    try:
        return os.read(source, _READ)
    except OSError:
        return b""
