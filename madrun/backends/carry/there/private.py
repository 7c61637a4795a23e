"""What only the owner may read: in memory where the node has a place for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from pathlib import Path

from madrun.backends.carry.there.store import write

MEMORY = Path("/dev/shm")  # files there end with the node's power, and reach no disk
LOST_S = 86400  # a launch starts within minutes of its delivery


def hide(path: Path, text: str, launch: str) -> None:
    """A file for the owner's eyes, in memory where there is a place for it, and a link to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for place in hidden("*"):
        with contextlib.suppress(OSError):
            if time.time() - place.lstat().st_mtime > LOST_S:  # of a launch whose host was lost
                shutil.rmtree(str(place))
    try:
        kept = _hidden_of(launch)
        kept.mkdir(mode=0o700, exist_ok=True)
        seen = kept.lstat()  # everybody may write in this place, and the name can be guessed: a link is another's too
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or seen.st_mode & 0o077:
            raise OSError("another user's")
        write(kept / path.name, text.encode(), 0o600)
    except OSError:
        return write(path, text.encode(), 0o600)
    with contextlib.suppress(FileExistsError):
        path.symlink_to(kept / path.name)
    return None


def _hidden_of(launch: str) -> Path:
    return MEMORY / f"madrun-{os.getuid()}-{launch}"


def hidden(launch: str) -> list[Path]:
    """The folders in memory of this user's launches, or of one."""
    return list(MEMORY.glob(f"madrun-{os.getuid()}-{launch}"))
