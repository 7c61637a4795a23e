"""The container engine of this host: docker or podman, where it answers, and what it is able to do."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from madrun.errors import EngineError
from madrun.probe import cdi, daemon
from madrun.probe.endpoint import Endpoint, docker_endpoints, podman_endpoints
from madrun.probe.locality import greet, is_of_this_host, shares_files
from madrun.probe.slurmjob import job_id
from madrun.spec.facts import Engine

Wanted = Literal["auto", "docker", "podman"]
_FIRST_CONTACT_S, _ANSWER_S = 10, 60
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_NVIDIA = Path("/proc/driver/nvidia/version")
_PROCESS = "or use --runtime process"
_NO_DOCKER = 1  # weight of a docker that was never there, which says nothing where podman alone is installed
_START = {
    "docker": "start one (scripts/engine.sh)",
    "podman": "start its API service (systemctl --user enable --now podman.socket; as root without --user; "
    "without systemd: podman system service --time=0 ADDRESS)",
}


class _Refusal(Exception):
    """Why an endpoint gave no engine; of several, the one with the highest weight is told."""

    def __init__(self, weight: int, text: str) -> None:
        super().__init__(text)
        self.weight = weight


def connect(wanted: Wanted = "auto", env: Mapping[str, str] = os.environ) -> tuple[Any, Engine]:
    """A client (docker.api.APIClient) of the engine, and its facts.

    What is named (DOCKER_HOST, a docker context, CONTAINER_HOST) is asked alone; else the usual sockets in turn, with
    `auto` those of docker before those of podman. Which of the two answered is its own word, not that of the socket.
    `EngineError` says why there is none, also for an engine of another host: its mounts would be of that host's files.
    """
    home, uid = Path(env.get("HOME") or Path.home()), os.getuid()
    docker = docker_endpoints(env, home) if wanted != "podman" else []
    named = any(endpoint.said_by for endpoint in docker)
    podman = podman_endpoints(env, uid) if wanted == "podman" or (wanted == "auto" and not named) else []
    refusals: list[_Refusal] = []
    for program, endpoints in (("docker", docker), ("podman", podman)):
        for endpoint in endpoints:
            try:
                return _engine_at(endpoint, program, wanted, bool(job_id(env)))
            except _Refusal as refusal:
                refusals.append(refusal)
    path = env.get("PATH")
    if shutil.which("podman", path=path) and not shutil.which("docker", path=path):
        refusals = [refusal for refusal in refusals if refusal.weight != _NO_DOCKER] or refusals
    raise EngineError(str(max(refusals, key=lambda refusal: refusal.weight)))


def _engine_at(endpoint: Endpoint, program: str, wanted: Wanted, in_job: bool) -> tuple[Any, Engine]:
    """Client and facts of what answers there; `_Refusal` where nothing does, `EngineError` where it must not serve."""
    if endpoint.scheme == "ssh" or (endpoint.scheme == "tcp" and not is_of_this_host(endpoint.address)):
        raise EngineError(_elsewhere(endpoint, "is an engine of another host"))
    peer = _reach(endpoint, program)
    client, headers = _first_contact(endpoint, program)
    name: Literal["docker", "podman"] = "podman" if "Libpod-Api-Version" in headers else "docker"
    if wanted == "podman" and name == "docker":
        raise EngineError(f"{endpoint.shown}: docker answers there, not podman; use --runtime docker, or auto")
    if not _is_local(peer, client, name):
        raise EngineError(_elsewhere(endpoint, "cannot be seen to run on this host and outside of any container"))
    facts = _facts(endpoint, client, (name, _version(headers)), peer)
    if in_job and name == "docker":  # /info costs up to 30 ms, and nothing else needs it
        facts = replace(facts, cgroup_driver=_cgroup_driver(client))
    return client, facts


def _cgroup_driver(client: Any) -> str:
    """`cgroupfs` or `systemd`; empty where the engine does not say it."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        return str(client.info().get("CgroupDriver") or "")
    except (DockerException, RequestException):
        return ""


def _elsewhere(endpoint: Endpoint, what: str) -> str:
    way_back = f"; to use an engine of this host, take back {endpoint.said_by}" if endpoint.said_by else ""
    return (
        f"{endpoint.shown} {what}: a container would be given the files of that engine's host in the place of those "
        f"here; run madrun on the engine's own host{way_back}, {_PROCESS}"
    )


def _reach(endpoint: Endpoint, program: str) -> daemon.Peer | None:
    """Connects; who listens on a unix socket. `_Refusal` in the words of the kernel's error."""
    start = _START[program].replace("ADDRESS", endpoint.address)
    try:
        if endpoint.scheme == "unix":
            return daemon.peer_of(endpoint.path)
        greet(endpoint.address, _FIRST_CONTACT_S)
        return None
    except PermissionError:
        raise _Refusal(3, _no_permission(endpoint, program, start)) from None
    except (FileNotFoundError, NotADirectoryError):
        raise _Refusal(_NO_DOCKER if program == "docker" else 0, _nobody(endpoint, program, start)) from None
    except ConnectionRefusedError:
        raise _Refusal(2, _nobody(endpoint, program, start)) from None
    except OSError as error:
        raise _Refusal(2, f"no {program} engine answers at {endpoint.shown}: {error}; {start}, {_PROCESS}") from None


def _nobody(endpoint: Endpoint, program: str, start: str) -> str:
    return f"no {program} engine answers at {endpoint.shown}; {start}, {_PROCESS}"


def _no_permission(endpoint: Endpoint, program: str, start: str) -> str:
    if program == "podman":
        return f"no permission on the podman socket {endpoint.shown}; use one of your own: {start}, {_PROCESS}"
    return (
        f"no permission on the docker socket {endpoint.shown}; add the user to the group that owns it "
        f"(sudo usermod -aG docker $USER, then log in again), {_PROCESS}"
    )


def _first_contact(endpoint: Endpoint, program: str) -> tuple[Any, Mapping[str, str]]:
    """A client that speaks the engine's own version of the API, and the headers of its /_ping.

    /_ping costs 1 ms in both engines; /version, which the library would ask for, costs podman 300 ms.
    """
    # First, and by itself: compiled at the bottom of the library's own deep chain of imports, its patterns cost up to
    # 30 ms more, for python 3.11 and later then allocate and free a piece of their stack with every call.
    import urllib3.util.url  # noqa: F401
    from docker.api import APIClient
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        base, tls = endpoint.address, _tls(endpoint)
        with APIClient(base_url=base, version="1.24", timeout=_FIRST_CONTACT_S, tls=tls) as first:
            answer = first.get(f"{first.base_url}/_ping", timeout=_FIRST_CONTACT_S)
        version = answer.headers.get("Api-Version")
        if answer.status_code >= 400 or not version:
            raise _Refusal(2, _no_engine(endpoint, program, f"HTTP {answer.status_code}, no Api-Version"))
        return APIClient(base_url=base, version=version, timeout=_ANSWER_S, tls=tls), answer.headers
    except (DockerException, RequestException) as error:
        raise _Refusal(2, _no_engine(endpoint, program, str(error))) from None


def _no_engine(endpoint: Endpoint, program: str, text: str) -> str:
    said = (text.splitlines() or [""])[0][:200]
    return f"no {program} engine answers at {endpoint.shown}: {said}; {_START[program]}, {_PROCESS}"


def _tls(endpoint: Endpoint) -> Any:
    """The client's certificate and the authority it trusts, by the names that docker gives the files."""
    if endpoint.tls is None:
        return False
    from docker.tls import TLSConfig

    cert, key, authority = (endpoint.tls / f"{name}.pem" for name in ("cert", "key", "ca"))
    pair = (str(cert), str(key)) if cert.is_file() and key.is_file() else None
    return TLSConfig(client_cert=pair, ca_cert=str(authority) if authority.is_file() else None, verify=endpoint.verify)


def _version(headers: Mapping[str, str]) -> str:
    """`20.10.24` out of `Server: Docker/20.10.24 (linux)`."""
    return headers.get("Server", "").partition("/")[2].partition(" ")[0]


def _is_local(peer: daemon.Peer | None, client: Any, name: str) -> bool:
    """Whether the engine's mounts are of the files that this process sees; asked of it only in doubt.

    In doubt: over TCP, which may be a tunnel, and where the process behind the socket is not among ours.
    """
    sees = daemon.sees_our_root(peer.pid) if peer is not None else None
    if sees or (sees is None and peer is not None and peer.pid > 0 and not daemon.in_container()):
        return True
    return name == "docker" and shares_files(client)


def _facts(endpoint: Endpoint, client: Any, answered: tuple[Any, str], peer: daemon.Peer | None) -> Engine:
    name, version = answered
    pid = daemon.daemon_pid(peer, docker=name == "docker") if peer is not None else None
    limits = daemon.hard_limits(pid) if pid else {}
    uid = daemon.owner(pid) if pid else None
    runtimes, specifications = _vendor_support(client, name)
    return Engine(
        name=name,
        version=version,
        host=endpoint.address,
        architecture=_ARCHITECTURES.get(platform.machine(), platform.machine()),
        runtimes=runtimes,
        cdi=cdi.devices(specifications),
        rootless=(_owner_of(endpoint) if uid is None else uid) != 0,
        can_raise_limits=daemon.can_raise_limits(pid) if pid else None,
        memlock=limits.get("Max locked memory"),
        nofile=limits.get("Max open files"),
    )


def _owner_of(endpoint: Endpoint) -> int:
    try:
        return endpoint.path.stat().st_uid if endpoint.scheme == "unix" else 0
    except OSError:
        return 0


def _vendor_support(client: Any, name: str) -> tuple[tuple[str, ...], Iterable[Path]]:
    """Runtimes, and the folders of CDI specifications that the engine reads.

    Docker names both in /info (CDISpecDirs since 25), which is asked only where it matters: NVIDIA's driver is loaded.
    Podman ignores a runtime that it is asked for through the API, and reads the usual folders.
    """
    if name == "podman":
        return (), cdi.FOLDERS
    if not _NVIDIA.exists():
        return (), ()
    info = client.info()
    return tuple(info.get("Runtimes") or {}), [Path(folder) for folder in info.get("CDISpecDirs") or ()]
