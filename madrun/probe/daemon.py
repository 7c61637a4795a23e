"""The process that serves an engine, as the kernel of this host knows it: whose it is and which limits it may raise."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from pathlib import Path

_CAP_SYS_RESOURCE = 24
_DOCKER_PID = Path("/run/docker.pid")
_MARKS = ("/.dockerenv", "/run/.containerenv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who listens on a unix socket: `pid` is 0 where this process cannot see it; `uid` owns it, in our terms."""

    pid: int
    uid: int


def peer_of(path: Path) -> Peer:
    """Connects and asks the kernel (SO_PEERCRED, unix(7)). Raises `OSError` as connect does."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        probe.connect(str(path))
        pid, uid, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid=pid, uid=uid)


def daemon_pid(peer: Peer, *, docker: bool) -> int | None:
    """The engine's process; where systemd holds the socket for docker, what docker wrote down. None: not known."""
    if peer.pid > 1:
        return peer.pid
    try:
        return int(_DOCKER_PID.read_text()) if peer.pid == 1 and docker else None
    except (OSError, ValueError):
        return None


def sees_our_root(pid: int) -> bool | None:
    """Whether the process has our root directory; None where this user may not look, or the process is not here.

    A rootless engine has a mount namespace of its own and still our root; an engine in a container has another.
    """
    if pid <= 0:
        return None
    try:
        theirs = Path(f"/proc/{pid}/root/.").stat()
    except OSError:
        return None
    ours = Path("/").stat()
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def in_container() -> bool:
    """Whether this process is in a container, by the files that docker and podman leave in each."""
    return any(Path(mark).exists() for mark in _MARKS)


def can_raise_limits(pid: int) -> bool | None:
    """Whether the process may raise a hard limit: CAP_SYS_RESOURCE, and of the host, not of a user namespace."""
    effective = _status(pid).get("CapEff")
    if effective is None:
        return None
    return bool(int(effective, 16) >> _CAP_SYS_RESOURCE & 1) and not _has_mapped_users(pid)


def owner(pid: int) -> int | None:
    """Real user id of the process, in our terms."""
    words = _status(pid).get("Uid", "").split()
    return int(words[0]) if words else None


def hard_limits(pid: int) -> dict[str, int]:
    """Hard limits by the names of /proc/PID/limits; unlimited is left out."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    except OSError:
        return {}
    hard = {line[:25].strip(): line[46:66].strip() for line in lines}
    return {name: int(value) for name, value in hard.items() if value.isdigit()}


def _has_mapped_users(pid: int) -> bool:
    try:
        theirs = Path(f"/proc/{pid}/uid_map").read_text().split()
        return theirs != Path("/proc/self/uid_map").read_text().split()
    except OSError:
        return False


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
