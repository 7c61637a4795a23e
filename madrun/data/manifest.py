"""What a mirror has to hold: a hidden file beside it, written before the mirror becomes visible."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from madrun.errors import DataError

FORMAT = 1
_CHUNK = 4 << 20
MOST_CHECKED = 20_000  # files; on a slow network file system more would keep every run from starting


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known of a file beforehand: its size, and its MD5 where the provider tells it."""

    size: int
    md5: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A whole mirror: where it came from, and the size and checksum of every file by name; `""` is a single file."""

    provider: str
    place: str
    bytes: int
    seconds: float
    files: dict[str, Expected] = field(default_factory=dict)


def path_of(target: Path) -> Path:
    """The manifest of this mirror."""
    return target.with_name(f".{target.name}.manifest.json")


def write(target: Path, manifest: Manifest) -> None:
    """Whole or not at all."""
    path = path_of(target)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, ensure_ascii=True, indent=0)
    with partial.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read(target: Path) -> Manifest | None:
    """That of the mirror; None where nobody wrote one that can be read, as of data that a user put there."""
    try:
        data: Any = json.loads(path_of(target).read_text(encoding="ascii"))
        files = {name: Expected(**expected) for name, expected in data.pop("files").items()}
        if data.pop("format") != FORMAT:
            return None
        return Manifest(**data, files=files)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None


def each_size(root: Path) -> Iterator[int]:
    """In bytes, of one file after the other."""
    return (size for _, size in _files(root))


def sizes(root: Path) -> dict[str, Expected]:
    """Every regular file below the root by name, with its size; links are no files."""
    return {name: Expected(size=size) for name, size in _files(root)}


def check(root: Path, files: Mapping[str, Expected], most: int = MOST_CHECKED) -> str:
    """The first thing in which the files are not as expected; empty where all of the first `most` are."""
    for name, expected in islice(files.items(), most):
        path = root / name if name else root
        try:
            status = path.lstat()
        except OSError as error:
            return f"{name or path}: {error.strerror}"
        if not stat.S_ISREG(status.st_mode):
            return f"{name or path}: is no file"
        if status.st_size != expected.size:
            return f"{name or path}: found {status.st_size} bytes, it has {expected.size}"
    return ""


def demand(root: Path, files: Mapping[str, Expected], alive: Callable[[], None]) -> None:
    """`DataError` where a file is missing, or has another size or another MD5 than its provider says."""
    wrong = check(root, files, len(files))
    if wrong:
        raise DataError(f"what was fetched is not whole: {wrong}; start again")
    for name, expected in files.items():
        path = root / name if name else root
        if expected.md5 and _md5(path, alive) != expected.md5:
            path.unlink()
            raise DataError(
                f"what was fetched is not right: {name or path}: its MD5 is not {expected.md5}; start again"
            )


def _md5(path: Path, alive: Callable[[], None]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            alive()
            digest.update(chunk)
    return digest.hexdigest()


def _files(root: Path) -> Iterator[tuple[str, int]]:
    if not root.is_dir():
        yield "", root.stat().st_size
        return
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(root / folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif entry.is_file(follow_symlinks=False):
                    yield name, entry.stat(follow_symlinks=False).st_size
