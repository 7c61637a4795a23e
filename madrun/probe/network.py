"""Interfaces, addresses, routes and free ports of this host."""

from __future__ import annotations

import ipaddress
import socket

from madrun.errors import ContextError
from madrun.spec.facts import Interface


def interfaces() -> tuple[Interface, ...]:
    """Interfaces in the kernel's order, with their IPv4 and IPv6 addresses.

    Also those that are down at this moment: a cable that was just plugged in takes a second to be reported up.
    """
    import psutil

    found = []
    for name, entries in psutil.net_if_addrs().items():
        literals = [entry.address.partition("%")[0] for entry in entries if entry.family in _FAMILIES]
        if literals:
            found.append(Interface(name=name, addresses=tuple(literals)))
    return tuple(found)


_FAMILIES = (socket.AF_INET, socket.AF_INET6)


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
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True
