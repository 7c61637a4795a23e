"""The container engine of this host: does it answer, and which limits may it raise."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import Any

from madrun.errors import EngineError
from madrun.spec.facts import Engine

_CAP_SYS_RESOURCE = 24
_DEFAULT_HOST = "unix:///var/run/docker.sock"


_FIRST_CONTACT_S, _ANSWER_S = 10, 60


def connect() -> Any:
    """A client of the docker engine that DOCKER_HOST or the default socket names; `EngineError` says why not."""
    from docker.api import APIClient
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    try:
        client = APIClient(version="auto", timeout=_FIRST_CONTACT_S, **kwargs_from_env())
        client.timeout = _ANSWER_S  # once it has answered it may take its time
        return client
    except DockerException as error:
        raise EngineError(_why_not(str(error))) from None


def _why_not(text: str) -> str:
    host = os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
    if "Permission denied" in text or "PermissionError" in text:
        return (
            f"no permission on the docker socket {host}; add the user to the group that owns it "
            "(sudo usermod -aG docker $USER, then log in again), or use --runtime process"
        )
    if "No such file" in text or "FileNotFoundError" in text or "Connection refused" in text:
        return f"no docker engine answers at {host}; start one (scripts/engine.sh), or use --runtime process"
    return f"no docker engine answers at {host}: {text.splitlines()[0][:200]}"


def describe(client: Any) -> Engine:
    """Facts of the engine. Limits are read from the daemon behind the socket where it is on this host."""
    version = client.version()
    daemon = _daemon_pid()
    limits = _limits(daemon) if daemon else {}
    return Engine(
        name="docker",
        version=str(version.get("Version", "")),
        rootless=_is_rootless(daemon),
        can_raise_limits=_has_capability(daemon, _CAP_SYS_RESOURCE) if daemon else None,
        memlock=limits.get("Max locked memory"),
        nofile=limits.get("Max open files"),
    )


def _daemon_pid() -> int | None:
    """The process that listens on the engine's unix socket (SO_PEERCRED), or docker's pid file where that is init."""
    host = os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
    if not host.startswith("unix://"):
        return None
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(host.removeprefix("unix://"))
            pid = int(struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])
        return pid if pid > 1 else int(Path("/run/docker.pid").read_text())
    except (OSError, ValueError):
        return None


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _has_capability(pid: int, bit: int) -> bool | None:
    effective = _status(pid).get("CapEff")
    return None if effective is None else bool(int(effective, 16) >> bit & 1)


def _is_rootless(pid: int | None) -> bool:
    uid = _status(pid).get("Uid", "0").split() if pid else ["0"]
    return uid[0] != "0"


def _limits(pid: int) -> dict[str, int]:
    """Hard limits by name; unlimited is left out."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    except OSError:
        return {}
    hard = {line[:25].strip(): line[46:66].strip() for line in lines}
    return {name: int(value) for name, value in hard.items() if value.isdigit()}
