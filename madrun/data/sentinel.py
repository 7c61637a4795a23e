"""Small files that nodes leave for each other in a directory, to find out whether it is one directory for all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

SENTINEL = ".madrun-shared-"  # how their names begin
_OLD_S = 3600.0
_TRIES, _BETWEEN_S = 5, 0.2


def leave(directory: str, run: str, rank: int) -> tuple[str, str]:
    """Writes this node's file: its token, or an empty one and why it could not be written. Makes no directory."""
    token = os.urandom(16).hex()
    path = _place(directory, run, rank)
    try:
        with path.open("x") as file:
            file.write(token)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return "", error.strerror or str(error)
    return token, ""


def see(directory: str, run: str, tokens: dict[int, str]) -> list[int]:
    """The ranks whose file is there with its token, of those that left one.

    The directory is listed before a file is opened: NFS remembers for a while that a file was not there.
    """
    waiting = {rank: token for rank, token in tokens.items() if token}
    seen: list[int] = []
    for turn in range(_TRIES):
        if turn:
            time.sleep(_BETWEEN_S)
        with suppress(OSError):
            names = {entry.name for entry in Path(directory).iterdir()}
            seen += [rank for rank in waiting if _reads(directory, run, (rank, waiting[rank]), names)]
        waiting = {rank: token for rank, token in waiting.items() if rank not in seen}
        if not waiting:
            break
    return sorted(seen)


def _reads(directory: str, run: str, one: tuple[int, str], names: Iterable[str]) -> bool:
    path = _place(directory, run, one[0])
    if path.name not in names:
        return False
    try:
        return path.read_text() == one[1]
    except (OSError, UnicodeDecodeError):
        return False


def take_back(directory: str, run: str, rank: int) -> None:
    """Removes this node's file; node 0 also what killed runs left an hour ago or longer, once for all nodes."""
    with suppress(OSError):
        _place(directory, run, rank).unlink()
    if rank:
        return
    with suppress(OSError):
        for entry in Path(directory).iterdir():
            if entry.name.startswith(SENTINEL):
                _remove_old(entry)


def _remove_old(path: Path) -> None:
    with suppress(OSError):
        if time.time() - path.lstat().st_mtime > _OLD_S:
            path.unlink()


def _place(directory: str, run: str, rank: int) -> Path:
    return Path(directory) / f"{SENTINEL}{run}-{rank}"
