"""A client of a docker engine that may be killed at any time: every question has a connection of its own."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

VERSION = "v1.40"


class PlainEngine:
    """The few questions that tests ask of an engine at a socket; `OSError` where it does not answer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ask(self, method: str, place: str, body: bytes | None = None) -> bytes:
        """The engine's answer; `RuntimeError` where it refuses."""
        connection = http.client.HTTPConnection("docker", timeout=30)
        with closing(connection), socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(30)
            channel.connect(str(self._path))
            connection.sock = channel
            headers = {"Content-Type": "application/x-tar"} if body else {}
            try:
                connection.request(method, f"/{VERSION}{place}", body, headers)
                answer = connection.getresponse()
                said = answer.read()
            except http.client.HTTPException as error:
                raise ConnectionResetError(str(error)) from None
        if answer.status >= 400:
            raise RuntimeError(f"{method} {place}: {answer.status} {said.decode(errors='replace')}")
        return said

    def answers(self) -> bool:
        """Whether it is there."""
        with suppress(OSError):
            return self.ask("GET", "/_ping") == b"OK"
        return False

    def containers(self) -> list[dict[str, Any]]:
        """Every container, running or not; none where the engine does not answer."""
        with suppress(OSError):
            found: list[dict[str, Any]] = json.loads(self.ask("GET", "/containers/json?all=1"))
            return found
        return []

    def inspect(self, container: str) -> dict[str, Any]:
        """All that it knows of a container."""
        return dict(json.loads(self.ask("GET", f"/containers/{container}/json")))

    def act(self, container: str, what: str) -> None:
        """`pause`, `kill`, `stop` and the like."""
        self.ask("POST", f"/containers/{container}/{what}")

    def remove(self, container: str) -> None:
        """As `docker rm -f -v`."""
        self.ask("DELETE", f"/containers/{container}?force=1&v=1")

    def load(self, image: bytes) -> None:
        """As `docker load`."""
        self.ask("POST", "/images/load?quiet=1", image)
