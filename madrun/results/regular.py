"""Files that a script left behind, opened without trust: what it calls a file may be a pipe, a device or a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegular(Exception):
    """The path is something else than a regular file; the text says what, and what is allowed."""


def kind_of(mode: int) -> str:
    """What a file of this mode is, in words with an article."""
    return _KINDS.get(stat.S_IFMT(mode), "a special file")


def open_regular(path: Path) -> BinaryIO:
    """The file open for reading; `NotRegular` or `OSError` at once where it is none, whatever it is.

    A link is refused too: it would be resolved on this host, though a container may have made it.
    """
    _refuse(path, os.lstat(path).st_mode)
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse(path, os.fstat(handle).st_mode)
    except NotRegular:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def _refuse(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotRegular(f"{readable(path.name)} is {kind_of(mode)}, allowed: a regular file")


def readable(name: str | Path) -> str:
    """The name as text that any file can hold: bytes that are no UTF-8 are spelled out."""
    return str(name).encode("utf-8", "backslashreplace").decode()
