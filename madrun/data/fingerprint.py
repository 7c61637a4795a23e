"""What the same data on two hosts have in common: names, sizes, and contents of a few files chosen alike on both."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from madrun.data.sentinel import SENTINEL

MOST_ENTRIES, MOST_SAMPLES = 20_000, 32
_LOOK_EVERY = 1000
_EDGE = 64 << 10  # bytes that are read at each end of a sampled file
_NAME = 60  # characters of a sampled file's name that are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """Two hosts with other fingerprints have other data. `samples`: end of the name, and hash, of sampled files.

    Where time ran out there are fewer samples, and with `incomplete` no names either; `error` says why nothing could
    be read.
    """

    files: int = 0
    bytes: int = 0
    names: str = ""
    samples: tuple[tuple[str, str], ...] = ()
    incomplete: bool = False
    error: str = ""


def fingerprint(path: str, limit_s: float = 2.0) -> Fingerprint:
    """Of the data at `path`, a file or a directory, in about `limit_s`; the order of directories does not matter."""
    deadline = time.monotonic() + limit_s
    root = Path(path)
    found: list[tuple[str, int]] = []
    try:
        for entry in islice(_files(root, deadline), MOST_ENTRIES):
            found.append(entry)
            _in_time(deadline)
    except _TooLong:
        return Fingerprint(files=len(found), bytes=_total(found), incomplete=True)
    except OSError as error:
        return Fingerprint(error=error.strerror or str(error))
    digest = hashlib.sha256(repr(found).encode("utf-8", "surrogateescape")).hexdigest()
    samples = []
    for name, _ in sorted(found, key=lambda entry: _rank(digest, entry[0]))[:MOST_SAMPLES]:
        if time.monotonic() > deadline:
            break
        samples.append((_printable(name), _edges(root / name if name else root)))
    return Fingerprint(files=len(found), bytes=_total(found), names=digest[:16], samples=tuple(samples))


class _TooLong(Exception):
    """Time has run out."""


def _in_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise _TooLong


def _entries(folder: Path, deadline: float) -> list[os.DirEntry[str]]:
    """Of one directory by name; one with millions of them may take longer than there is time."""
    found: list[os.DirEntry[str]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(found) % _LOOK_EVERY == 0:
                _in_time(deadline)
            if not entry.name.startswith(SENTINEL):  # each node leaves its own, also in directories with data
                found.append(entry)
    return sorted(found, key=lambda entry: entry.name)


def _files(root: Path, deadline: float) -> Iterator[tuple[str, int]]:
    """Name below the root and size of every file, in an order that is the same on every file system."""
    if not root.is_dir():
        yield "", root.stat().st_size
        return
    folders = [""]
    while folders:
        folder = folders.pop()
        below = []
        for entry in _entries(root / folder, deadline):
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                below.append(name)
            else:
                yield name, _size(entry)
        folders += reversed(below)


def _size(entry: os.DirEntry[str]) -> int:
    """In bytes; negative of a link that leads nowhere or to a directory, whose own size is its file system's matter."""
    try:
        status = entry.stat()
    except OSError:
        return -1
    return -2 if stat.S_ISDIR(status.st_mode) else status.st_size


def _total(found: list[tuple[str, int]]) -> int:
    return sum(size for _, size in found if size > 0)


def _rank(digest: str, name: str) -> bytes:
    return hashlib.sha256(f"{digest} {name}".encode("utf-8", "surrogateescape")).digest()


def _edges(path: Path) -> str:
    """Hash of the first and the last bytes; what kept it from being read where that is so."""
    try:
        if not path.is_file():
            return "no file"
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(_EDGE))
            file.seek(max(file.seek(0, os.SEEK_END) - _EDGE, 0))
            digest.update(file.read(_EDGE))
    except OSError as error:
        return error.strerror or "unreadable"
    return digest.hexdigest()[:12]


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[-_NAME:])
