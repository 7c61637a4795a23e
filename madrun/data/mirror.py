"""A mirror: the data copied once under DIR/<name>, visible only when it is whole."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

from madrun.errors import DataError


def fill(source: Path, target: Path) -> bool:
    """Copies `source` to `target` unless that is there; True if this call made it.

    The copy grows under a hidden name and is renamed when it is whole: of two nodes that race, one wins and
    the other drops its own.
    """
    if target.exists():
        return False
    partial = target.with_name(f".{target.name}.{socket.gethostname()}-{os.getpid()}.partial")
    try:
        if source.is_dir():
            shutil.copytree(source, partial, symlinks=True)
        else:
            shutil.copy2(source, partial)
        partial.rename(target)
    except OSError as error:
        _remove(partial)
        if target.exists():
            return False
        raise DataError(f"the mirror {target} could not be made from {source}: {error}") from None
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
