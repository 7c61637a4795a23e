"""The docker runtime: one container through the Engine API, attached before it starts."""

from __future__ import annotations

import dataclasses
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from madrun.errors import EngineError
from madrun.runtimes.box import Sink
from madrun.runtimes.spelling import engine_config
from madrun.runtimes.streams import copy_frames
from madrun.spec.plan import Container

# What runc says when it may not raise a limit: the number is RLIMIT_* of Linux.
_RLIMIT = re.compile(r"rlimits? (?:for )?type:? (\d+)")
_RLIMIT_NAMES = {"7": "nofile", "8": "memlock"}


class DockerBox:
    """A running container. It removes itself when it ends; the driver inside ends when this process does."""

    def __init__(self, client: Any, container: Container, secrets: Mapping[str, str], sink: Sink) -> None:
        self._client = client
        self._refused: list[str] = []
        self._exit: int | None = None
        self._socket, self._id, self._waiter = self._start(container, secrets)
        self._pump = threading.Thread(target=copy_frames, args=(self._socket, sink), daemon=True)
        self._pump.start()

    @property
    def deviations(self) -> tuple[str, ...]:
        return tuple(self._refused)

    @property
    def image_id(self) -> str:
        return self._image

    def send(self, line: str) -> None:
        with suppress(OSError):
            self._socket.sendall(f"{line}\n".encode())

    def wait(self, timeout_s: float) -> int | None:
        self._waiter.join(timeout_s)
        if self._waiter.is_alive():
            return None
        self._pump.join(timeout_s)
        if self._pump.is_alive():
            return None  # output is still on its way: closing now would cut it
        self._close()
        return self._exit

    def _close(self) -> None:
        """The connection of the stream, in the three layers that the library wraps it in."""
        for layer in (self._stream, self._socket, getattr(self._stream, "_response", None)):
            if layer is not None:
                with suppress(OSError, ValueError):  # a layer may be closed by the one around it
                    layer.close()

    def kill(self) -> None:
        from docker.errors import APIError

        with suppress(APIError):
            self._client.remove_container(self._id, force=True, v=True)

    def _start(self, container: Container, secrets: Mapping[str, str]) -> tuple[socket.socket, str, threading.Thread]:
        from docker.errors import APIError

        while True:
            try:
                return self._try(container, secrets)
            except APIError as error:
                text = str(error.explanation or error)
                limit = _refused_limit(text)
                if limit is None or limit not in container.ulimits:
                    raise EngineError(_start_error(text, container)) from None
                self._refused.append(f"{limit} left out: the engine refused it ({text[-160:].strip()})")
                fewer = {name: value for name, value in container.ulimits.items() if name != limit}
                container = dataclasses.replace(container, ulimits=fewer)

    def _try(self, container: Container, secrets: Mapping[str, str]) -> tuple[socket.socket, str, threading.Thread]:
        """Create, attach, wait, start, in this order: no byte of output and no exit code can be missed."""
        client = self._client
        config = engine_config(container, secrets)
        created = client.create_container_from_config(config, container.name)["Id"]
        try:
            stream = client.attach_socket(created, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            waiter = threading.Thread(target=self._await_removal, args=(created,), daemon=True)
            waiter.start()
            client.start(created)
            self._image = str(client.inspect_container(created)["Image"])
        except BaseException:
            self._id = created
            self.kill()
            raise
        self._stream = stream
        connection: socket.socket = getattr(stream, "_sock", stream)
        connection.settimeout(None)  # the library's time limit for answers; a script may be silent for hours
        return connection, created, waiter

    def _await_removal(self, container: str) -> None:
        from docker.errors import APIError
        from requests.exceptions import RequestException

        with suppress(APIError, RequestException):
            self._exit = int(self._client.wait(container, timeout=None, condition="removed")["StatusCode"])
            return
        self._exit = -1


def _refused_limit(text: str) -> str | None:
    match = _RLIMIT.search(text)
    return _RLIMIT_NAMES.get(match[1]) if match else None


def _start_error(text: str, container: Container) -> str:
    """The engine's words, with what to do next where that is known."""
    hints = {
        "could not select device driver": "install the vendor's container toolkit, or use --runtime process",
        '"bash": executable file not found': f"the image {container.image} has no bash, which the driver needs",
        "bind source path does not exist": "every mount's source must exist on this host; none is created silently",
        "is already in use by container": "another container has this name; madrun's names hold the run id",
    }
    hint = next((hint for sign, hint in hints.items() if sign in text), "see the engine's own log")
    return f"the engine refused to start {container.name}: {text.strip()}\n{hint}"
