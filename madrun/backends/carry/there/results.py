"""The results of a launch, back to the launching host, and the end of what the launch had here."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

from madrun.backends.carry.there.base import Refused, folder_of, inside, say
from madrun.backends.carry.there.private import hidden


def fetch(request: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> dict[str, Any]:
    """The names of the run directories, a tar archive of them, and the word that it was all."""
    runs = inside(folder_of(request), request["results"]) / "runs"
    there = sorted(path.name for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    names = [name for name in there if name not in request["known"]]
    for name in names:
        _check_readable(runs / name)
    say(sink, {"runs": names})
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            archive.add(str(runs / name), arcname=name, recursive=True)
    return {"done": True}


def running(request: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> dict[str, Any]:
    """The process of the launch's madrun that still runs here, 0 where there is none.

    Each of its programs is named on a command line: node.sh, or the place of the results.
    """
    folder = folder_of(request)
    marks = [os.fsencode(str(inside(folder, request[name]))) for name in ("results", "script")]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if any(word in marks for word in entry.read_bytes().split(b"\0")):
                return {"pid": int(entry.parent.name)}
    return {"pid": 0}


def _check_readable(run: Path) -> None:
    """Refused where this user may not read all of it: what a script leaves is not always theirs."""
    for place, folders, files in os.walk(str(run)):
        for path in [Path(place, name) for name in (*folders, *files)]:
            comes = not path.is_symlink() and (path.is_dir() or path.is_file())
            if comes and not os.access(str(path), os.R_OK):
                raise Refused(f"{path}: cannot be read by the user who came; give it to them")


def brought(request: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> dict[str, Any]:
    """Removes the run directories that are on the launching host now."""
    runs = inside(folder_of(request), request["results"]) / "runs"
    for name in request["runs"]:
        shutil.rmtree(str(inside(runs, name)), ignore_errors=True)
    return {"done": True}


def clear(request: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> dict[str, Any]:
    """Removes what this launch alone had here; names what could not be removed.

    With `keep`, run directories that are still here stay: they have not come home.
    """
    folder = folder_of(request)
    forget(request, source, sink)
    place = inside(folder, request["to"])
    results = inside(folder, request["results"])
    kept = bool(request["keep"]) and any(results.glob("runs/*"))
    left: list[str] = []
    for entry in [one for one in place.glob("*") if not kept or one != results]:
        shutil.rmtree(str(entry), ignore_errors=True) if entry.is_dir() else _unlink(entry)
        if entry.exists():  # what nodes that share the folder remove at the same time is gone now
            shutil.rmtree(str(entry), onerror=lambda _call, path, _error: left.append(str(path)))
    with contextlib.suppress(OSError):
        place.rmdir()
    for store in folder.glob("git/*"):
        if store.is_dir():
            with contextlib.suppress(OSError):
                words = ["git", "--git-dir", str(store), "worktree", "prune"]
                subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return {"left": left[:3], "kept": str(results) if kept else ""}


def forget(request: dict[str, Any], source: BinaryIO, sink: BinaryIO) -> dict[str, Any]:
    """Removes the private file of a launch."""
    for place in hidden(request["launch"]):
        shutil.rmtree(str(place), ignore_errors=True)
    file = inside(folder_of(request), request["private"])
    with contextlib.suppress(OSError):
        Path(file).unlink()
    return {"done": True}


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
