"""What this host's own name means here (getaddrinfo(3), hosts(5))."""

from __future__ import annotations

import ipaddress

from madrun.probe.health.source import Source, Unreadable
from madrun.probe.network import line_of_hosts
from madrun.spec.health import HostName


def host_name(source: Source, name: str) -> HostName:
    """Addresses of the name; `Unreadable` where the resolver does not answer."""
    found = source.addresses_of(name)
    for address in found:
        try:
            ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            raise Unreadable(f"the address of {name}: found {address[:40]!r}") from None
    return HostName(name=name, addresses=tuple(found), line=line_of_hosts(name, source.root / "etc/hosts"))
