"""What happens to a running container from outside: somebody pauses it, or its engine goes away."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

Trouble = Literal["", "paused", "engine"]
LOOK_S = 1.0  # one look costs client and engine less than 1 ms


class Outlook:
    """Looks at a container once a second until `close`; `trouble` says what stands against it."""

    def __init__(self, client: Any, container: str) -> None:
        self.trouble: Trouble = ""
        self._client, self._container = client, container
        self._paused = 0
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def close(self) -> None:
        """Looks no more."""
        self._over.set()

    def ask(self) -> Trouble:
        """What stands against it now: asked anew, for an engine that ends still answers where it did before."""
        if self.trouble != "paused":
            self.trouble = "" if answers(self._client) else "engine"
        return self.trouble

    def _look(self) -> None:
        from docker.errors import APIError
        from requests.exceptions import RequestException

        while not self._over.wait(LOOK_S):
            try:
                state = self._client.inspect_container(self._container)["State"]
            except APIError:
                continue  # it is gone: whoever waits for its end learns of it
            except RequestException:
                self.trouble = "" if answers(self._client) else "engine"
                continue
            # Twice, for `docker commit` pauses for a moment.
            self._paused = self._paused + 1 if state.get("Paused") or state.get("Status") == "paused" else 0
            self.trouble = "paused" if self._paused > 1 else ""


def answers(client: Any) -> bool:
    """Whether the engine takes a new connection."""
    from docker.errors import APIError
    from requests.exceptions import RequestException

    client.close()  # its idle connections alone
    try:
        client.ping()
    except APIError:
        return True
    except RequestException:
        return False
    return True


class FirstProcess:
    """The first process of a container as this host sees it; it is nobody else's also when its number is used again."""

    def __init__(self, pid: int, command: tuple[str, ...]) -> None:
        self.pid: int | None = None
        self._born = _born(pid)
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            if pid and self._born and tuple(words) == command:
                self.pid = pid

    @property
    def lives(self) -> bool | None:
        """Whether it runs; None where it cannot be seen from here."""
        return None if self.pid is None else _born(self.pid) == self._born

    def kill(self) -> None:
        """Ends it without the engine, and all processes of the container with it; in vain where this is not allowed."""
        if self.pid is not None and self.lives:
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)


def _born(pid: int) -> str:
    """When the process began; empty for one that has ended, a zombie too."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
