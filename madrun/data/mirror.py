"""A mirror: the data copied once under DIR/<name>, visible only when it is whole."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from madrun.errors import DataError

_CHUNK = 16 << 20
Check = Callable[[int], None]


def _go_on(_copied: int) -> None:
    """Nothing stands against the copy."""


def fill(source: Path, target: Path, check: Check = _go_on) -> bool:
    """Copies `source` to `target` unless that is there; True if this call made it.

    The copy grows under a hidden name and is renamed when it is whole: of two nodes that race, one wins and
    the other drops its own. `check` is called between chunks with the bytes copied so far; what it raises ends
    the copy without a trace. The directory of the target is never created.
    """
    if target.exists():
        return False
    count = _Count(check)
    partial = target.with_name(f".{target.name}.{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}.partial")
    try:
        if source.is_dir():

            def copy(one: str, other: str) -> None:
                _copy(Path(one), Path(other), count)

            shutil.copytree(source, partial, symlinks=True, copy_function=copy)
        else:
            _copy(source, partial, count)
        partial.rename(target)
    except OSError as error:
        if target.exists():
            return False
        raise DataError(f"the mirror {target} could not be made from {source}: {error}") from None
    finally:
        _remove(partial)
    return True


class _Count:
    """Adds up what is copied, and asks whether to go on."""

    def __init__(self, check: Check) -> None:
        self._check, self._copied = check, 0

    def add(self, size: int) -> None:
        self._copied += size
        self._check(self._copied)


def _copy(source: Path, target: Path, count: _Count) -> None:
    """One file with its times and mode, by chunks. A pipe is none: it would be read for ever."""
    if not stat.S_ISREG(source.stat().st_mode):
        raise OSError(f"{source} is no regular file")
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            count.add(len(chunk))
            writer.write(chunk)
    shutil.copystat(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
