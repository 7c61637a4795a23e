"""Names, routes and free ports of this host."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from pathlib import Path

from madrun.errors import ContextError


def resolve(address: str) -> str:
    """The address as an IP literal, IPv4 before IPv6; `ContextError` where the name means nothing here."""
    try:
        return str(ipaddress.ip_address(address.strip("[]")))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ContextError(
            f"multi_node_args.MASTER_ADDR: found {address!r}, which this host cannot resolve ({reason}); "
            "allowed: an IP address or a host name of node 0"
        ) from None
    literals = [str(entry[4][0]) for entry in found]
    return next((literal for literal in literals if ":" not in literal), literals[0])


def addresses_of(name: str) -> tuple[str, ...]:
    """The literals that the name or literal means to this host; empty for one that means nothing here."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM) if name else []
    except (socket.gaierror, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def local_address_towards(address: str) -> str:
    """The address of this host that a packet to `address` would carry; nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError as error:
            raise ContextError(
                f"multi_node_args.MASTER_ADDR: this host has no route to {address} ({error.strerror}); "
                "allowed: an address that node 0 has and this host reaches"
            ) from None
        return str(probe.getsockname()[0])


class PortClaim:
    """A TCP port that other madrun processes of this host leave alone until `release`.

    The claim is a name in the abstract socket namespace: the kernel drops it with the process.
    """

    def __init__(self, port: int, claim: socket.socket) -> None:
        self.port = port
        self._claim = claim

    def release(self) -> None:
        """Gives the port back."""
        self._claim.close()


PORTS = range(20000, 29400)  # below the range of ephemeral ports, and below the default of several nodes


def claim_free_port(first: int, low: int = PORTS.start, high: int = PORTS.stop) -> PortClaim:
    """The first free port from `first` on, wrapping inside [low, high): below the range of ephemeral ports."""
    for offset in range(high - low):
        port = low + (first - low + offset) % (high - low)
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0madrun-port-{port}")
        except OSError:
            claim.close()
            continue
        if port_is_free(port):
            return PortClaim(port, claim)
        claim.close()
    raise ContextError(f"multi_node_args.MASTER_PORT: no free port in {low}-{high - 1}; give one")


def port_is_free(port: int, address: str = "") -> bool:
    """Whether a server could listen on the port now."""
    return _try_port(port, address) is None


def _try_port(port: int, address: str) -> OSError | None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error
        return None


def port_trouble(port: int, address: str = "") -> str:
    """Why no server could listen on the port now, in words; empty where one could."""
    error = _try_port(port, address)
    if error is None:
        return ""
    if error.errno == errno.EADDRINUSE:
        owner = port_owner(port)
        what = f"is in use on this host{f' by {owner}' if owner else ''}"
        return f"{what}; end what listens there, or give another port on every node"
    if error.errno in (errno.EACCES, errno.EPERM):
        first = _sysctl("net/ipv4/ip_unprivileged_port_start", (1024,))[0]
        return f"is privileged on this host: ports below {first} are for root; give one from {first} on, on every node"
    return f"cannot be listened on at {address or 'any address'} ({error.strerror}); give another port on every node"


def port_owner(port: int) -> str:
    """`process 4711 (python3 server.py)` that listens there; empty where this user may not see it."""
    import psutil

    try:
        listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        found = [c for c in listening if tuple(c.laddr)[1:] == (port,)]
        pids = sorted({c.pid for c in found if c.pid})
        words = [psutil.Process(pid).cmdline() for pid in pids[:1]]
    except (psutil.Error, OSError):
        return ""
    if not pids:
        return "a process of another user" if found and os.getuid() else ""
    program, *arguments = words[0] or [""]
    command = " ".join((Path(program).name, *arguments))  # where it lies says less than what it was given
    return f"process {pids[0]} ({command if len(command) <= 80 else command[:77] + '...'})"


def ephemeral_note(key: str, port: int) -> str:
    """That the kernel may give the port to any outgoing connection at any moment; empty where it does not."""
    low, high = _sysctl("net/ipv4/ip_local_port_range", (32768, 60999))[:2]
    if not low <= port <= high:
        return ""
    return (
        f"multi_node_args.{key}: {port} lies among the ports that this host gives to outgoing connections "
        f"({low}-{high}): it may be taken at any moment; better one below {low}"
    )


def _sysctl(name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    try:
        found = tuple(int(word) for word in Path("/proc/sys", name).read_text().split())
    except (OSError, ValueError):
        return default
    return found if len(found) >= len(default) else default


def line_of_hosts(name: str, file: Path = Path("/etc/hosts")) -> str:
    """`/etc/hosts:2`, the line that gives the name its address; empty where none does."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for number, line in enumerate(lines, 1):
        if name.lower() in line.partition("#")[0].lower().split()[1:]:
            return f"{file}:{number}"
    return ""
