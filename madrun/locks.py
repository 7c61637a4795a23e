"""A lock between processes: a file that one of them holds; the kernel drops it with its holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_EVERY_S = 0.1


@contextmanager
def locked(file: Path, waiting: Callable[[float], None] | None = None) -> Iterator[None]:
    """Waits for the lock and holds it while the body runs. The file is made where it is missing, and stays.

    `waiting` is told again and again how many seconds have gone, and may raise: in a thread no signal ends a wait.

    flock(2), which NFS hands to the server on Linux. The stdlib is enough here: the usual library for this
    imports asyncio, which costs every start 40 ms.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        if waiting is None:
            fcntl.flock(handle, fcntl.LOCK_EX)
        else:
            _wait(handle.fileno(), waiting)
        yield


def _wait(file: int, waiting: Callable[[float], None]) -> None:
    began = time.monotonic()
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting(time.monotonic() - began)
            time.sleep(_LOOK_EVERY_S)


def is_held(file: Path) -> bool | None:
    """Whether some process holds the lock of this file; None where that cannot be told."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None  # a file system without locks
    finally:
        os.close(handle)
    return False
