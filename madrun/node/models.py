"""Models that scripts download: kept in one cache of the user for all runs, and found there by the next one.

A script that makes its workspace the cache of Hugging Face's libraries finds each known model there as a link, and
what it downloads goes to the cache when it has ended. Files of that cache are named by their content, so that what two
runs have both brought is kept once.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from madrun.planning.mad.command import CACHE, HUB
from madrun.spec.mad import MODELS

_UNFINISHED = ".incomplete"
_LOCKS = ".locks"


def link_models(work: Path, cache: Path, in_container: bool) -> None:
    """A link in the work directory for each model of the cache, which is made where it is missing."""
    hub = cache / HUB
    hub.mkdir(parents=True, exist_ok=True)
    inside = Path(CACHE) / HUB if in_container else hub
    for entry in hub.iterdir():
        if entry.name.startswith(MODELS) and not os.path.lexists(work / entry.name):
            (work / entry.name).symlink_to(inside / entry.name)


def keep_models(work: Path, shared: str) -> list[str]:
    """Moves what was downloaded into the work directory to the cache; notes say what has come and what could not.

    `shared`: the cache's path, empty where there is none.
    """
    notes: list[str] = []
    if not shared:
        return notes
    cache = Path(shared)
    for folder in _downloaded(work):
        target = cache / HUB / folder.name
        try:
            _merge(folder, target)
        except OSError as error:
            notes.append(f"{folder.name} could not be kept in {target.parent}: {error.strerror or error}")
        else:
            notes.append(f"{folder.name} was downloaded, and is kept in {target.parent} for the next runs")
    locks = work / _LOCKS
    if locks.is_dir() and not locks.is_symlink() and all(one.name.startswith(MODELS) for one in locks.iterdir()):
        shutil.rmtree(locks, ignore_errors=True)
    return notes


def _downloaded(work: Path) -> Iterator[Path]:
    if not work.is_dir() or work.is_symlink():
        return
    for entry in sorted(work.iterdir()):
        if entry.name.startswith(MODELS) and entry.is_dir() and not entry.is_symlink() and any(entry.iterdir()):
            yield entry


def _merge(source: Path, target: Path) -> None:
    """Everything of the source that the target lacks, then the source is gone. Links are moved, never followed.

    What names a version (refs) is taken anew; an unfinished download is left behind.
    """
    if not target.exists():
        part = target.with_name(f".{target.name}.{uuid4().hex}")
        shutil.move(source, part)  # a copy, where the cache is another file system
        with suppress(OSError):
            part.rename(target)
            return
        source = part  # another run was faster
    for folder, _, names in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            one, other = Path(folder, name), place / name
            is_ref = Path(folder).relative_to(source).parts[:1] == ("refs",)
            if not name.endswith(_UNFINISHED) and (is_ref or not os.path.lexists(other)):
                shutil.move(one, other)
    shutil.rmtree(source)
