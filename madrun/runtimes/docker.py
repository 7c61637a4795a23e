"""The runtime of containers, docker's and podman's: one container through the Engine API, attached before it starts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from madrun.errors import EngineError
from madrun.runtimes import libpod
from madrun.runtimes.box import Sink
from madrun.runtimes.refusals import dropped_capabilities, smaller, start_error
from madrun.runtimes.spelling import engine_config
from madrun.runtimes.streams import copy_frames
from madrun.spec.plan import Container


class DockerBox:
    """A running container. It removes itself when it ends; the driver inside ends when this process does."""

    def __init__(self, client: Any, container: Container, secrets: Mapping[str, str], sink: Sink) -> None:
        self._client = client
        self._refused: list[str] = []
        self._exit = -1
        self._socket, self._id, self._waiter = self._start(container, secrets)
        self._pump = threading.Thread(target=copy_frames, args=(self._socket, sink), daemon=True)
        self._pump.start()

    @property
    def deviations(self) -> tuple[str, ...]:
        return tuple(self._refused)

    @property
    def image_id(self) -> str:
        return self._image

    @property
    def pid(self) -> int | None:
        return self._pid

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
        _close(self._stream)
        return self._exit

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
                without = smaller(container, text)
                if without is None:
                    raise EngineError(start_error(text, container)) from None
                container, said = without
                self._refused.append(said)

    def _try(self, container: Container, secrets: Mapping[str, str]) -> tuple[socket.socket, str, threading.Thread]:
        """Create, attach, wait, start, in this order: no byte of output and no exit code can be missed."""
        client = self._client
        created = create(client, container, secrets)
        stream = None
        try:
            stream = client.attach_socket(created, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            waiter = threading.Thread(target=self._await_end, args=(created, container.program), daemon=True)
            waiter.start()
            client.start(created)
            seen = client.inspect_container(created)
        except BaseException:
            self._id = created
            self.kill()
            _close(stream)
            raise
        self._image = str(seen["Image"])
        self._pid = int(seen.get("State", {}).get("Pid") or 0) or None
        self._refused += dropped_capabilities(container, seen["HostConfig"].get("CapAdd"))
        self._stream = stream
        connection: socket.socket = getattr(stream, "_sock", None) or stream
        connection.settimeout(None)  # the library's time limit for answers; a script may be silent for hours
        return connection, created, waiter

    def _await_end(self, container: str, program: str) -> None:
        """The exit code, and then the removal. Docker gives the code with the removal, podman only before it."""
        from docker.errors import APIError
        from requests.exceptions import RequestException

        for condition in ("next-exit", "removed") if program == "podman" else ("removed",):
            with suppress(APIError, RequestException):
                code = int(self._client.wait(container, timeout=None, condition=condition)["StatusCode"])
                if condition == "next-exit" or program != "podman":
                    self._exit = code


def create(client: Any, container: Container, secrets: Mapping[str, str]) -> str:
    """Id of the container, made and not started; `docker.errors.APIError` where the engine refuses."""
    if container.program == "podman":
        return libpod.create(client, container, secrets)
    return str(client.create_container_from_config(engine_config(container, secrets), container.name)["Id"])


def _close(stream: Any) -> None:
    """The connection of a stream, in the three layers that the library wraps it in."""
    for layer in (stream, getattr(stream, "_sock", None), getattr(stream, "_response", None)):
        if layer is not None:
            with suppress(OSError, ValueError):  # a layer may be closed by the one around it
                layer.close()
