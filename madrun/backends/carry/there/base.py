"""Requests and replies, and the one folder below which everything is written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

MARK = "madrun-reply "
CHUNK = 1 << 20


class Refused(Exception):
    """Why a request cannot be granted, in words for the user."""


def say(sink: BinaryIO, answer: dict[str, Any]) -> None:
    """The reply, on a line of its own whatever was printed before it."""
    sink.write(f"\n{MARK}{json.dumps(answer)}\n".encode())
    sink.flush()


def folder_of(request: dict[str, Any]) -> Path:
    """The folder of this node, `~` being the home of the user who came."""
    return Path(request["folder"]).expanduser()


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
