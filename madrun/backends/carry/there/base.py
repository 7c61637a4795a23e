"""Requests and replies, and the one folder below which everything is written."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

MARK = "madrun-reply "
CHUNK = 1 << 20
NOBODY = 65534  # to whom root's files belong on a file system of a server that does not trust it (exports(5))


class Refused(Exception):
    """Why a request cannot be granted, in words for the user."""


def say(sink: BinaryIO, answer: dict[str, Any]) -> None:
    """The reply, on a line of its own whatever was printed before it."""
    sink.write(f"\n{MARK}{json.dumps(answer)}\n".encode())
    sink.flush()


def folder_of(request: dict[str, Any]) -> Path:
    """The folder of this node, `~` being the home of the user who came."""
    return Path(request["folder"]).expanduser()


def make_own(folder: Path) -> None:
    """Makes the folder; outside of the user's home, as on a disk that all share, for their eyes alone."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o777 if Path.home() in folder.parents else 0o700, exist_ok=True)
    check_own(folder)


def check_own(folder: Path) -> None:
    """Refused where another user could put a program into the folder, which would then be run from there."""
    try:
        seen = folder.stat()
    except FileNotFoundError:
        return
    if seen.st_uid not in (os.getuid(), 0, NOBODY):
        raise Refused(f"{folder} belongs to another user (uid {seen.st_uid}); set ssh.folder to a folder of your own")
    if seen.st_mode & stat.S_IWOTH:
        raise Refused(
            f"{folder} can be written by every user; set ssh.folder to a folder of your own, as {folder}/NAME"
        )


def inside(folder: Path, name: str) -> Path:
    """A place below the folder; refused where the name leads out of it."""
    path = Path(os.path.normpath(str(folder / name)))
    if folder not in path.parents:
        raise Refused(f"{name}: leads out of {folder}")
    return path


def free_space(folder: Path) -> int:
    """Bytes that this user may still write there, or in the nearest folder above that exists."""
    place = folder
    while not place.exists():
        place = place.parent
    seen = os.statvfs(str(place))
    return seen.f_bavail * seen.f_frsize


def in_words(error: BaseException, folder: Path) -> str:
    """What went wrong, so that it can be shown beside the host's name."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        left = free_space(folder) >> 20
        return f"{folder} is full ({left} MiB free); make room there, or set ssh.folder to another place"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename or folder}: {error.strerror}; set ssh.folder to a folder that you may write there"
    return f"{error}" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
