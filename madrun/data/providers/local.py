"""Data on a file system of this host: used where they lie, or copied to a mirror."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from madrun.data.manifest import Expected
from madrun.data.work import Progress, Unreachable
from madrun.spec.credentials import Credentials
from madrun.spec.data import Fetch

LIMIT_S = float("inf")
_CHUNK = 16 << 20


def read(settings: Mapping[str, Any], repository: Path, _credentials: Credentials) -> Fetch:
    """The path, absolute; a relative one starts at the repository."""
    path = repository / settings["path"]
    if not path.exists():
        raise Unreachable(f"{path} does not exist on this host")
    return Fetch(provider="local", place=str(path))


def fetch(fetch: Fetch, progress: Progress) -> dict[str, Expected]:
    """Copies what is not there yet, with times and modes; links stay links, but to files elsewhere, as in a cache."""
    source = Path(fetch.place)
    if not source.exists():
        raise Unreachable(f"{source} does not exist on this host")
    files = {}
    inside = source.resolve()
    for name in _names(source):
        path, target = (source / name, progress.data / name) if name else (source, progress.data)
        if name and path.is_symlink() and not _is_file_elsewhere(path, inside):
            if path.is_dir() and not path.resolve().is_relative_to(inside):
                progress.means.tell(
                    f"{path} leads to a folder outside of the data, which is not copied: {path.readlink()}"
                )
            target.unlink(missing_ok=True)
            target.symlink_to(path.readlink())
        elif path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            files[name] = Expected(size=_copy(path, target, name, progress))
    for folder in sorted((target for target in _folders(source)), reverse=True):
        shutil.copystat(source / folder, progress.data / folder)
    return files


def _is_file_elsewhere(link: Path, inside: Path) -> bool:
    """Whether the link would lead nowhere from the copy."""
    return link.is_file() and not (link.resolve().is_relative_to(inside) and not link.readlink().is_absolute())


def _names(source: Path) -> Iterator[str]:
    """Of the root and all below it, a directory before what it holds."""
    yield ""
    for parent, folders, names in os.walk(source):
        for name in sorted((*folders, *names)):
            yield os.path.relpath(Path(parent, name), source)


def _folders(source: Path) -> Iterator[str]:
    for parent, _, _ in os.walk(source):
        yield os.path.relpath(parent, source)


def _copy(source: Path, target: Path, name: str, progress: Progress) -> int:
    """Its size. A file that was begun is gone on with where the source is still as it was then."""
    status = source.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{source} is no regular file")  # a pipe would be read for ever
    state = (name, status.st_size, status.st_mtime_ns)
    begun = state in progress.journal and target.exists()
    here = min(target.stat().st_size, status.st_size) if begun else 0
    if not begun:
        target.unlink(missing_ok=True)
        progress.journal.add(*state)
    start = here if here == status.st_size else here - here % _CHUNK
    progress.keep(start)
    with source.open("rb") as reader, target.open("r+b" if begun else "wb") as writer:
        reader.seek(start)
        writer.seek(start)
        while chunk := reader.read(_CHUNK):
            progress.add(0)
            writer.write(chunk)
            progress.add(len(chunk))
    shutil.copystat(source, target)
    return status.st_size
