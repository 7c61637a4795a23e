"""The folder in which a visit's programs leave their files: it goes with the visit, or with a later one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from madrun.locks import locked

PREFIX = ".madrun-doctor-"
_OWNER = "visit.lock"  # held as long as the visit lasts, by whichever host it is on
_YOUNG_S = 3600.0  # one as new as that may not have its lock yet, whatever the clocks of two hosts say


@contextmanager
def visit_folder(results: Path) -> Iterator[Path]:
    """A new folder where a run's would be, on the same file system and as visible to the engine; else in /tmp."""
    near = next(folder for folder in (results, *results.parents) if folder.is_dir())
    for folder in near.glob(f"{PREFIX}*"):
        _remove_dead(folder)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=near))
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        with ExitStack() as held:
            with suppress(OSError):  # without locks there, nobody removes it but this visit
                held.enter_context(locked(folder / _OWNER))
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_dead(folder: Path) -> None:
    """Removes what a visit of this user left that was killed: nobody holds its lock any more."""
    with suppress(OSError):  # of another user, just gone, or a file system without locks: it stays
        found = folder.lstat()
        if found.st_uid != os.getuid() or folder.is_symlink() or time.time() - found.st_mtime < _YOUNG_S:
            return
        with (folder / _OWNER).open("r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
