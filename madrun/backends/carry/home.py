"""Run directories from a node to the launching host: each appears there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO

from madrun.backends.carry.talk import Starter, Talk, Target, Trouble, printable
from madrun.errors import UsageError

_MOST = 0o755  # of the modes there: what only its owner could read stays so


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
            names = _names(target, talk.reply().get("runs"), known)
            with tarfile.open(fileobj=talk.out, mode="r|") as archive:
                _extract(archive, place)
            talk.reply()  # without it the archive has been cut, which between two of its files nothing else shows
        for name in names:
            if (place / name).is_symlink() or not (place / name).is_dir():
                raise Trouble(target.host, f"{name}: no run directory came")
            (place / name).rename(runs / name)
    except (Trouble, tarfile.TarError, ValueError) as error:
        raise UsageError(f"bringing home the results: {printable(str(error))}") from None
    except OSError as error:
        where = printable(str(error.filename or runs))
        raise UsageError(f"bringing home the results: {where}: {error.strerror}") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return names


def _names(target: Target, said: object, known: Sequence[str]) -> tuple[str, ...]:
    """The names of new run directories as the node says them; `Trouble` for one that would lie elsewhere."""
    names = tuple(map(str, said)) if isinstance(said, list) else ("",)
    for name in names:
        if not name or name.startswith(".") or "/" in name or not name.isprintable() or name in known:
            raise Trouble(target.host, f"found {name!r} among its run directories, which is no name of a new one")
    return names


def _extract(archive: tarfile.TarFile, place: Path) -> None:
    """Files, folders and links within: what a container left may be anything, and goes nowhere else."""
    for member in archive:
        path = _place(place, member.name)
        if path is None:
            continue
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            if not path.is_symlink():
                path.chmod(0o700 | member.mode & _MOST)
        elif member.isfile():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                shutil.copyfileobj(_content(archive, member), file)
            path.chmod(0o600 | member.mode & _MOST)
            with suppress(OverflowError, ValueError, OSError):  # a time that no file has
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
