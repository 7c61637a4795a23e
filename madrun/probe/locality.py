"""Whether an engine sees the files of this host: a bind mount is of the engine's files, wherever that is."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# A tmpfs that no network shares, and the folder for temporary files: a container has others than its host.
_WITNESSES = ("/dev/shm", None)
_DOCKER_PORT = 2375
_NO_IMAGE = "madrun.invalid/asks-only:none"


def is_of_this_host(address: str) -> bool:
    """Whether the host of a `tcp://` address is this one: a socket can be bound to one of its addresses."""
    host = urlsplit(address).hostname
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM) if host else []
    except (OSError, UnicodeError):
        return False
    return any(_can_bind(family, place) for family, _, _, _, place in found)


def greet(address: str, seconds: float) -> None:
    """Connects to a `tcp://` address and leaves again; raises `OSError` where nobody listens."""
    parts = urlsplit(address)
    socket.create_connection((parts.hostname or "", parts.port or _DOCKER_PORT), seconds).close()


def _can_bind(family: int, place: Any) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(place)
            return True
    except OSError:
        return False


def shares_files(client: Any, folders: Iterable[str | None] = _WITNESSES) -> bool:
    """Whether docker finds files that were made here a moment ago. Nothing is created there.

    POST /containers/create looks at the sources of its mounts before it looks for the image, and names what is
    missing: of an image that cannot exist it says 404 only where all sources do (moby, verifyContainerSettings).
    """
    with ExitStack() as stack:
        files = [
            stack.enter_context(tempfile.NamedTemporaryFile(prefix="madrun-", dir=folder))
            for folder in folders
            if folder is None or Path(folder).is_dir()
        ]
        mounts = [
            {"Type": "bind", "Source": file.name, "Target": f"/witness-{number}", "ReadOnly": True}
            for number, file in enumerate(files)
        ]
        body = {"Image": _NO_IMAGE, "HostConfig": {"Mounts": mounts}}
        answer = client.post(f"{client.base_url}/v{client.api_version}/containers/create", json=body)
    return bool(answer.status_code == 404)
