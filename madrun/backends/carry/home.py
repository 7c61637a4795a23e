"""Run directories from a node to the launching host: each appears there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import threading
from pathlib import Path, PurePosixPath
from typing import IO

from madrun.backends.carry.talk import Starter, Talk, Target, Trouble
from madrun.errors import UsageError


def fetch(starter: Starter, target: Target, question: dict[str, object], to: tuple[Path, Path]) -> tuple[str, ...]:
    """Brings the run directories below `results` of the node's folder into the second folder, by way of a new one in
    the first, on the same file system; their names. `UsageError` where they do not come, or cannot be written.
    """
    by_way, runs = to
    runs.mkdir(parents=True, exist_ok=True)
    known = sorted(path.name for path in runs.iterdir())
    place = Path(tempfile.mkdtemp(dir=by_way, prefix="home-"))
    try:
        with Talk(starter, target, {**question, "do": "fetch", "known": known}, threading.Event()) as talk:
            names = tuple(map(str, talk.reply()["runs"]))
            with tarfile.open(fileobj=talk.out, mode="r|") as archive:
                _extract(archive, place)
            talk.reply()  # without it the archive has been cut, which between two of its files nothing else shows
        for name in names:
            (place / name).rename(runs / name)
    except (Trouble, tarfile.TarError) as error:
        raise UsageError(f"bringing home the results: {error}") from None
    except OSError as error:
        raise UsageError(f"bringing home the results: {error.filename or runs}: {error.strerror}") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return names


def _extract(archive: tarfile.TarFile, place: Path) -> None:
    """Files, folders and links within: what a container left may be anything, and goes nowhere else."""
    for member in archive:
        path = _place(place, member.name)
        if path is None:
            continue
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
        elif member.isfile():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                shutil.copyfileobj(_content(archive, member), file)
            path.chmod(0o644 | member.mode & 0o111)
            os.utime(path, (member.mtime, member.mtime))
        elif member.issym() and _stays(path.relative_to(place), member.linkname):
            path.symlink_to(member.linkname)
        elif member.islnk():
            source = _place(place, member.linkname)
            if source is not None and source.is_file() and not source.is_symlink():
                shutil.copyfile(source, path)


def _place(folder: Path, name: str) -> Path | None:
    """Where the entry of this name goes; None where that would be outside, or behind a link."""
    inside = PurePosixPath(os.path.normpath(name))
    path = folder / inside
    if inside.is_absolute() or ".." in inside.parts or any(one.is_symlink() for one in _above(path, folder)):
        return None
    return path


def _above(path: Path, folder: Path) -> list[Path]:
    return [one for one in path.parents if folder in one.parents]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    source = archive.extractfile(member)
    assert source is not None
    return source


def _stays(name: Path, target: str) -> bool:
    """Whether a link leads to something of its own run directory; `..` after a name might follow another link."""
    parts = PurePosixPath(target).parts
    up = sum(part == ".." for part in parts)
    return not target.startswith("/") and ".." not in parts[up:] and up < len(name.parts) - 1
