"""Which network interface a node uses, why, and what speaks against it: pure functions over the host's interfaces.

Sources: "NCCL environment variables" (NCCL_SOCKET_IFNAME takes prefixes, exact names after `=`, all others after `^`;
NCCL_SOCKET_FAMILY), "Choosing the network interface" of torch.distributed (GLOO_SOCKET_IFNAME), OpenUCX FAQ
(UCX_NET_DEVICES), torch/csrc/distributed/rpc/tensorpipe_agent.cpp (TP_SOCKET_IFNAME).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from madrun.errors import ContextError
from madrun.spec.facts import Interface
from madrun.spec.topology import Topology

_JOINED = ("bond", "bridge")  # what has the address in place of its parts
_OTHERWISE = "say another with GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """This node's interface, its network (CIDR, empty where unknown), the reason, and what speaks against it."""

    interface: Interface
    network: str
    why: str
    doubts: tuple[str, ...] = ()


def choose(master: str, local: str, interfaces: tuple[Interface, ...], several: bool) -> Choice:
    """The interface that has `master`, else the one in whose network it lies, else that of the route to it.

    `local` is the address of this host on that route. Never chosen: loopback for an address that is none, what is down
    or a part of a bond, and a bridge for containers unless the route itself leads over it. `ContextError` where there
    is none. `several`: there are other nodes, for whom a doubt counts.
    """
    routed = _having(local, interfaces)
    own = _having(master, interfaces)
    if own is not None:
        why = "loopback, as MASTER_ADDR" if is_loopback(master) else "it has MASTER_ADDR"
        return _checked(own, master, why, interfaces, several and not is_loopback(master))
    near = _nearest(master, routed, interfaces)
    if near is not None:
        return _checked(near, master, "MASTER_ADDR lies in its network", interfaces, several, routed)
    if routed is None:
        raise ContextError(
            f"no interface of this host has the address {local}; give NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME; "
            f"it has: {named(interfaces)}"
        )
    return _checked(routed, master, "on the route to MASTER_ADDR", interfaces, several, routed)


def is_loopback(address: str) -> bool:
    """Whether only this host reaches the address."""
    return ip_address(address).is_loopback


def _having(address: str, interfaces: tuple[Interface, ...]) -> Interface | None:
    found = next((one for one in interfaces if address in one.addresses), None)
    if found is None and is_loopback(address):  # 127.0.1.1 is nobody's and lo's all the same
        return next((one for one in interfaces if any(map(is_loopback, one.addresses))), None)
    return found


def _nearest(master: str, routed: Interface | None, interfaces: tuple[Interface, ...]) -> Interface | None:
    """That whose network holds the master most narrowly; of several the one that the route names."""
    fits = [
        (ip_network(network).prefixlen, one is routed, -place, one)
        for place, one in enumerate(interfaces)
        for network in one.networks
        if holds(network, master) and (one is routed or not _unfit(one, interfaces))
    ]
    return max(fits, key=lambda fit: fit[:3])[3] if fits else None


def holds(network: str, address: str) -> bool:
    return bool(network) and ip_address(address) in ip_network(network)


def _unfit(one: Interface, interfaces: tuple[Interface, ...]) -> bool:
    only_local = all(is_loopback(address) for address in one.addresses)
    return only_local or one.up is False or is_for_containers(one) or bool(joined_in(one, interfaces))


def is_for_containers(one: Interface) -> bool:
    """Whether it is a bridge that no hardware is a part of: docker0 and its like lead to this host's containers."""
    return one.kind == "bridge" and not one.lower


def joined_in(one: Interface, interfaces: tuple[Interface, ...]) -> str:
    """The bond or bridge that sends and receives in place of this interface; empty without one."""
    kinds = {other.name: other.kind for other in interfaces}
    return one.master if kinds.get(one.master) in _JOINED else ""


def network_towards(one: Interface, master: str) -> str:
    """Of the interface's networks the one that holds `master`, else the first of its family, else the first."""
    known = [network for network in one.networks if network and not ip_network(network).is_link_local]
    family = [network for network in known if ip_network(network).version == ip_address(master).version]
    holding = [network for network in family if holds(network, master)]
    return next(iter([*holding, *family, *known]), "")


def _checked(
    one: Interface,
    master: str,
    why: str,
    interfaces: tuple[Interface, ...],
    several: bool,
    routed: Interface | None = None,
) -> Choice:
    network = network_towards(one, master)
    if several and is_loopback(one.addresses[0]):
        has = master in one.addresses
        what = f"an address of {one.name}" if has else f"towards which this host has an address of {one.name}"
        raise ContextError(
            f"multi_node_args.MASTER_ADDR: found {master}, {what}, of which torch tells the other "
            f"nodes {one.addresses[0]}; allowed: an address of another interface: {_candidates(one, interfaces)}; or "
            "give NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME"
        )
    doubts = _doubts(one, master, network, interfaces, routed) if several else []
    return Choice(interface=one, network=network, why=f"{described(one, network)}: {why}", doubts=tuple(doubts))


def _doubts(
    one: Interface, master: str, network: str, interfaces: tuple[Interface, ...], routed: Interface | None
) -> list[str]:
    doubts = []
    if routed is not None and routed is not one:
        doubts.append(
            f"the route to MASTER_ADDR {master} leads over {with_network(routed, master)}, but {master} lies in "
            f"{network} of {one.name}, which is taken; {_OTHERWISE}"
        )
    elif routed is one and network and not holds(network, master) and not _is_single(network):
        doubts.append(
            f"MASTER_ADDR {master} lies in no network of this host: {one.name} ({network}) reaches it through a router"
        )
    first = one.addresses[0]  # in the kernel's order those of IPv4, then those of IPv6 with the widest scope first
    if network and not holds(network, first):
        doubts.append(f"Gloo takes the first address of {one.name}, {first}, and not that in {network}")
    if is_for_containers(one):
        doubts.append(
            f"{with_network(one, master)} is a bridge for containers of this host, and leads nowhere else; "
            f"{_OTHERWISE}: {_candidates(one, interfaces)}"
        )
    twins = [other.name for other in interfaces if other is not one and _shares(other, network, interfaces)]
    if twins:
        doubts.append(
            f"{', '.join([one.name, *twins])} are all in {network}: unless there is a route for each source address, "
            "the kernel sends everything by one of them"
        )
    return doubts


def _is_single(network: str) -> bool:
    """A network of one address, as clouds give it to every machine: everything else is behind a router."""
    return ip_network(network).num_addresses == 1


def _shares(other: Interface, network: str, interfaces: tuple[Interface, ...]) -> bool:
    live = other.carrier is not False and not _unfit(other, interfaces)
    return bool(network) and network in other.networks and live and not _is_single(network)


def described(one: Interface, network: str) -> str:
    """`bond0.100 (10.0.0.0/24, vlan over bond0)`."""
    what = f"{one.kind} over {', '.join(one.lower)}" if one.lower and one.kind else one.kind
    said = ", ".join(filter(None, (network, what)))
    return f"{one.name} ({said})" if said else one.name


def with_network(one: Interface, master: str) -> str:
    network = network_towards(one, master)
    return f"{one.name} ({network})" if network else one.name


def named(interfaces: Iterable[Interface]) -> str:
    """`lo (127.0.0.0/8), eth0 (10.0.0.0/24, fd00::/64)`; networks of one link alone are left out."""
    texts = []
    for one in interfaces:
        networks = [network for network in one.networks if network and not ip_network(network).is_link_local]
        texts.append(f"{one.name} ({', '.join(dict.fromkeys(networks))})" if networks else one.name)
    return ", ".join(texts) or "none"


def _candidates(one: Interface, interfaces: tuple[Interface, ...]) -> str:
    fit = (other for other in interfaces if other is not one and not _unfit(other, interfaces))
    return named(other for other in fit if network_towards(other, other.addresses[0]) or not other.networks)


def variables(topology: Topology, runner: str, rdma: bool) -> dict[str, str]:
    """What libraries beside NCCL and Gloo are told of the interface, each in its own syntax; nothing on one node.

    NCCL takes the first address of an interface, so that of IPv6 has to be asked for. UCX, which MPI may use, takes
    names, and would leave RDMA aside: with `rdma` it is told nothing. TensorPipe (torch.distributed.rpc) takes one.
    """
    if topology.nnodes == 1:
        return {}
    found = {"TP_SOCKET_IFNAME": topology.gloo_ifname.partition(",")[0]}
    if ":" in topology.network and ":" in topology.master_addr:
        found["NCCL_SOCKET_FAMILY"] = "AF_INET6"
    if runner == "mpirun" and not rdma:
        found["UCX_NET_DEVICES"] = topology.gloo_ifname
    return found
