"""A lock between processes: a file that one of them holds; the kernel drops it with its holder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Waits for the lock and holds it while the body runs. The file is made where it is missing, and stays.

    flock(2), which NFS hands to the server on Linux. The stdlib is enough here: the usual library for this
    imports asyncio, which costs every start 40 ms.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
