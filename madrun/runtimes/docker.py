"""The runtime of containers, docker's and podman's: one container through the Engine API, attached before it starts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from madrun.errors import EngineError
from madrun.runtimes import created, libpod
from madrun.runtimes.box import Sink
from madrun.runtimes.outside import FirstProcess, Outlook, Trouble
from madrun.runtimes.refusals import dropped_capabilities, smaller, start_error
from madrun.runtimes.spelling import engine_config
from madrun.runtimes.streams import copy_frames
from madrun.spec.plan import Container

_REMOVAL_S = 5.0
_AGAIN_S = 0.3  # between two questions to an engine that does not answer


class DockerBox:
    """A running container. It removes itself when it ends; the driver inside ends when this process does."""

    def __init__(
        self,
        client: Any,
        container: Container,
        secrets: Mapping[str, str],
        sink: Sink,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """`env`: what the engine's command line client is started with, where the container has free-form options."""
        self._client, self._env = client, env or {}
        self._refused: list[str] = []
        self._exit = -1
        self._unreachable = False  # in vain was the engine asked to remove the container
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

    @property
    def trouble(self) -> Trouble:
        return self._outlook.trouble

    def ask(self) -> Trouble:
        return self._outlook.ask()

    def send(self, line: str) -> None:
        with suppress(OSError):
            self._socket.sendall(f"{line}\n".encode())

    def wait(self, timeout_s: float) -> int | None:
        self._waiter.join(min(timeout_s, _AGAIN_S) if self._unreachable else timeout_s)
        if self._unreachable and self._process.lives is False:
            self._outlook.close()
            _close(self._stream)
            return self._exit  # all processes have ended; the engine removes what it has of it when it goes on
        if self._waiter.is_alive():
            return None
        self._pump.join(timeout_s)
        if self._pump.is_alive():
            return None  # output is still on its way: closing now would cut it
        self._outlook.close()
        _close(self._stream)
        return self._exit

    def kill(self) -> None:
        removal = threading.Thread(target=self._remove, daemon=True)
        removal.start()
        removal.join(_REMOVAL_S)
        if removal.is_alive() or self._unreachable:
            self._process.kill()
            self._unreachable = True

    def _remove(self) -> None:
        from docker.errors import APIError
        from requests.exceptions import RequestException

        try:
            self._client.remove_container(self._id, force=True, v=True)
        except APIError:
            return  # it is gone, or about to go
        except RequestException:
            self._unreachable = True

    def _start(self, container: Container, secrets: Mapping[str, str]) -> tuple[socket.socket, str, threading.Thread]:
        from docker.errors import APIError
        from requests.exceptions import RequestException

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
            except RequestException as error:  # of which APIError is one, too
                said = f"the container engine has gone, or does not answer, while a container starts: {error}"
                raise EngineError(said) from None

    def _try(self, container: Container, secrets: Mapping[str, str]) -> tuple[socket.socket, str, threading.Thread]:
        """Create, attach, wait, start, in this order: no byte of output and no exit code can be missed."""
        client = self._client
        made = create(client, container, secrets, self._env)
        stream, self._process = None, FirstProcess(0, ())
        try:
            stream = client.attach_socket(made, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            waiter = threading.Thread(target=self._await_end, args=(made, container.program), daemon=True)
            waiter.start()
            client.start(made)
            seen = client.inspect_container(made)
        except BaseException:
            self._id = made
            self.kill()
            _close(stream)
            raise
        self._image = str(seen["Image"])
        self._pid = int(seen.get("State", {}).get("Pid") or 0) or None
        self._process = FirstProcess(self._pid or 0, (*container.entrypoint, *container.command))
        self._outlook = Outlook(client, made)
        self._refused += dropped_capabilities(container, seen["HostConfig"].get("CapAdd"))
        self._stream = stream
        connection: socket.socket = getattr(stream, "_sock", None) or stream
        connection.settimeout(None)  # the library's time limit for answers; a script may be silent for hours
        return connection, made, waiter

    def _await_end(self, container: str, program: str) -> None:
        """The exit code, and then the removal. Docker gives the code with the removal, podman only before it."""
        from docker.errors import APIError
        from requests.exceptions import RequestException

        for condition in ("next-exit", "removed") if program == "podman" else ("removed",):
            try:
                code = int(self._client.wait(container, timeout=None, condition=condition)["StatusCode"])
            except APIError:
                continue
            except RequestException:
                self._await_without_engine(container)
                return
            if condition == "next-exit" or program != "podman":
                self._exit = code

    def _await_without_engine(self, container: str) -> None:
        """Returns when the container's processes have ended, or the engine is back and does not know it."""
        from docker.errors import NotFound
        from requests.exceptions import RequestException

        while self._process.lives is not False:
            with suppress(RequestException):
                try:
                    self._client.inspect_container(container)
                except NotFound:
                    return
            time.sleep(_AGAIN_S)


def create(client: Any, container: Container, secrets: Mapping[str, str], env: Mapping[str, str] | None = None) -> str:
    """Id of the container, made and not started; `docker.errors.APIError` where the engine refuses."""
    if container.options:
        return created.create(client, container, secrets, env or {})
    if container.program == "podman":
        return libpod.create(client, container, secrets)
    return str(client.create_container_from_config(engine_config(container, secrets), container.name)["Id"])


def _close(stream: Any) -> None:
    """The connection of a stream, in the three layers that the library wraps it in."""
    for layer in (stream, getattr(stream, "_sock", None), getattr(stream, "_response", None)):
        if layer is not None:
            with suppress(OSError, ValueError):  # a layer may be closed by the one around it
                layer.close()
