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
from collections.abc import MutableMapping

from madrun.spec.launch import ASKED, LEASE, SILENCE_S

LET_GO = "let go by the launching command"
SILENT = "not heard of the launching command for {} s"
_READ = 4096
_told: list[str] = []


def keep_lease(env: MutableMapping[str, str], silence_s: float = SILENCE_S) -> threading.Thread | None:
    """Where the environment asks for it, a thread that ends this process in order once nobody holds its input.

    The variable is taken out of the environment: what is started from here has no lease of this kind.
    What comes on it renews the lease; a letter of `ASKED` sends this process that signal, so that a second Ctrl-C at
    the launching host means here what it means there. The end of it, and silence for `silence_s`, mean SIGTERM.
    """
    if env.pop(LEASE, "") != "stdin":
        return None
    source = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # nothing that is started here may take a beat
    os.close(null)
    thread = threading.Thread(target=_watch, args=(source, silence_s), name="lease", daemon=True)
    thread.start()
    return thread


def end_of_lease() -> str:
    """Why the lease has ended, in words that ` on node N` can follow; empty while it holds, and where there is none."""
    return _told[0] if _told else ""


def _watch(source: int, silence_s: float) -> None:
    heard = time.monotonic()
    while True:
        ready, _, _ = select.select([source], [], [], max(heard + silence_s - time.monotonic(), 0.0))
        said = _read(source) if ready else b""
        if not said:
            _told.append(LET_GO if ready else SILENT.format(f"{silence_s:g}"))
            os.kill(os.getpid(), signal.SIGTERM)
            return
        heard = time.monotonic()
        for letter in said.decode("ascii", "replace"):
            if letter in ASKED:
                os.kill(os.getpid(), signal.Signals[ASKED[letter]])


def _read(source: int) -> bytes:
    try:
        return os.read(source, _READ)
    except OSError:
        return b""
