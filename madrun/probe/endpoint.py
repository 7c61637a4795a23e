"""Where an engine listens: what the environment, docker's own configuration and the usual places say. No contact."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.errors import EngineError

DOCKER_SOCKET = "unix:///var/run/docker.sock"
_SCHEMES = ("unix", "tcp", "http", "https", "ssh")
_CONTEXTS_PAGE = "docker context ls shows those there are"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address of an engine. `said_by` is what names it, empty for a usual place; `tls` the folder of its files."""

    address: str
    said_by: str = ""
    tls: Path | None = None
    verify: bool = True

    @property
    def scheme(self) -> str:
        """`unix`, `tcp` (http and https mean the same here) or `ssh`."""
        scheme = self.address.partition("://")[0]
        return "tcp" if scheme in ("http", "https") else scheme

    @property
    def path(self) -> Path:
        """The socket's file; only for `unix`."""
        return Path(self.address.removeprefix("unix://"))

    @property
    def shown(self) -> str:
        """The address, and what names it."""
        return f"{self.address} ({self.said_by})" if self.said_by else self.address


def docker_endpoints(env: Mapping[str, str], home: Path) -> list[Endpoint]:
    """As the docker client looks: DOCKER_HOST, the context in use; where neither is named, the usual sockets.

    `EngineError` where what is named cannot be read. Formats: docker CLI, `docker context` and config.json.
    """
    if env.get("DOCKER_HOST"):
        secure = bool(env.get("DOCKER_TLS_VERIFY")) or bool(env.get("DOCKER_CERT_PATH"))
        folder = Path(env.get("DOCKER_CERT_PATH") or _config_folder(env, home))
        verify = bool(env.get("DOCKER_TLS_VERIFY"))
        return [_named(env["DOCKER_HOST"], "DOCKER_HOST", folder if secure else None, verify)]
    name, said_by = _context_in_use(env, home)
    if name and name != "default":
        return [_context(name, said_by, _config_folder(env, home) / "contexts")]
    places = [DOCKER_SOCKET]
    if env.get("XDG_RUNTIME_DIR"):
        places.append(f"unix://{env['XDG_RUNTIME_DIR']}/docker.sock")
    places.append(f"unix://{home}/.docker/run/docker.sock")
    return [Endpoint(address=place) for place in places]


def podman_endpoints(env: Mapping[str, str], uid: int) -> list[Endpoint]:
    """CONTAINER_HOST; where it is not set, the user's own socket, then that of the system's service."""
    if env.get("CONTAINER_HOST"):
        return [_named(env["CONTAINER_HOST"], "CONTAINER_HOST", None, True)]
    folders = [env["XDG_RUNTIME_DIR"]] if env.get("XDG_RUNTIME_DIR") else []
    folders += [f"/run/user/{uid}", "/run"] if uid else ["/run"]
    return [Endpoint(address=f"unix://{folder}/podman/podman.sock") for folder in dict.fromkeys(folders)]


def _named(address: str, said_by: str, tls: Path | None, verify: bool) -> Endpoint:
    scheme, colon, rest = address.partition("://")
    if not colon and address.startswith("/"):
        scheme, rest = "unix", address
    if scheme not in _SCHEMES or not rest or (scheme == "unix" and not rest.startswith("/")):
        raise EngineError(f"{said_by}: found {address!r}, allowed: an address such as {DOCKER_SOCKET}")
    return Endpoint(address=f"{scheme}://{rest}", said_by=said_by, tls=tls, verify=verify)


def _config_folder(env: Mapping[str, str], home: Path) -> Path:
    return Path(env["DOCKER_CONFIG"]) if env.get("DOCKER_CONFIG") else home / ".docker"


def _context_in_use(env: Mapping[str, str], home: Path) -> tuple[str, str]:
    """The context's name and what says so; empty where none does."""
    if env.get("DOCKER_CONTEXT"):
        return env["DOCKER_CONTEXT"], "DOCKER_CONTEXT"
    file = _config_folder(env, home) / "config.json"
    if not _is_file(file):
        return "", ""
    name = _read_map(file, "docker's configuration").get("currentContext", "")
    if not isinstance(name, str):
        raise EngineError(f"{file}: currentContext: found {name!r}, allowed: the name of a context")
    return name, f"currentContext of {file}"


def _context(name: str, said_by: str, folder: Path) -> Endpoint:
    digest = hashlib.sha256(name.encode()).hexdigest()
    file = folder / "meta" / digest / "meta.json"
    if not _is_file(file):
        raise EngineError(f"{said_by}: there is no docker context {name!r} ({file} is missing); {_CONTEXTS_PAGE}")
    endpoints = _read_map(file, f"docker context {name!r}").get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = docker.get("Host") if isinstance(docker, dict) else None
    if not isinstance(docker, dict) or not isinstance(host, str):
        raise EngineError(f"{file}: docker context {name!r} has no Endpoints.docker.Host; make it anew")
    tls = folder / "tls" / digest / "docker"
    verify = not docker.get("SkipTLSVerify")
    return _named(host or DOCKER_SOCKET, f"docker context {name!r}", tls if tls.is_dir() else None, verify)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _read_map(file: Path, what: str) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise EngineError(f"{file}: {what} cannot be read: {error}; repair or remove it") from None
    if not isinstance(value, dict):
        raise EngineError(f"{file}: {what} is no JSON object; repair or remove it")
    return value
