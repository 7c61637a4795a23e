"""Names of the nodes for a container's /etc/hosts, so that nobody in it waits for a name server."""

from __future__ import annotations

from ipaddress import ip_address

from madrun.spec.record import Gate

MOST = 64  # beyond, only node 0 knows all: its store is what looks up whoever connects
_MAPPED = "-v4mapped"


def host_names(gate: Gate | None, rank: int) -> tuple[str, ...]:
    """`name:address` as `--add-host` takes it, where each name stands for one address that others reach.

    A server that listens on IPv6 and IPv4 at once, as torch's store does, sees IPv4 peers as ::ffff:10.0.0.2, which
    glibc does not find under 10.0.0.2: such addresses have lines of their own, under a name that nobody connects to.
    """
    hosts = gate.hosts if gate is not None else ()
    names = {name for name, _ in hosts}
    if len(names) < len(hosts) or any(ip_address(address).is_loopback for _, address in hosts):
        return ()
    known = [host for number, host in enumerate(hosts) if rank == 0 or len(hosts) <= MOST or number in (0, rank)]
    mapped = [(f"{name}{_MAPPED}", f"::ffff:{address}") for name, address in known if ip_address(address).version == 4]
    return tuple(f"{name}:{address}" for name, address in (*known, *mapped))
