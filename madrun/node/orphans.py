"""Containers of this user that nobody keeps: created or paused when their agent was killed, so no lease ends them.

An agent holds a lock on a file of its node's directory as long as it lives; the kernel drops it with the process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOCK = "agent.lock"
_STUCK = ("created", "paused")


@contextmanager
def alive(folder: Path) -> Iterator[None]:
    """Says that the agent of this node's directory lives, until the body ends or the process does."""
    with (folder / LOCK).open("w") as file:
        with suppress(OSError):  # a file system without locks: then an orphan cannot be told, and is left alone
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
        (folder / LOCK).unlink(missing_ok=True)


def sweep(client: Any, uid: int) -> list[str]:
    """Removes this user's stuck containers whose agent is dead; their names."""
    from docker.errors import APIError

    removed = []
    filters = {"label": [f"madrun.owner={uid}"], "status": list(_STUCK)}
    for container in client.containers(all=True, filters=filters):
        folder = _node_folder(container)
        if folder is None or not _is_dead(folder):
            continue
        with suppress(APIError):  # another madrun may sweep at the same time
            client.remove_container(container["Id"], force=True, v=True)
            removed.append(str(container["Names"][0]).lstrip("/"))
    return removed


def _node_folder(container: dict[str, Any]) -> Path | None:
    """The node's directory, by the mount of its box."""
    boxes = [mount["Source"] for mount in container.get("Mounts", []) if mount.get("Destination") == "/madrun"]
    return Path(boxes[0]).parent if boxes else None


def _is_dead(folder: Path) -> bool:
    """Whether nobody holds the lock; a lock that cannot be looked at counts as held."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
