"""The interfaces by which this node talks to the others: whether they can serve, and with which addresses."""

from __future__ import annotations

import time
from ipaddress import ip_address

from madrun.errors import ContextError
from madrun.node.channel.link import Link
from madrun.node.joining.farewell import farewell
from madrun.planning.interfaces import named, network_towards
from madrun.planning.namedinterfaces import interface_notes, interface_problems, used_interfaces
from madrun.probe.interfaces import interface_states
from madrun.spec.facts import HostFacts, Interface
from madrun.spec.plan import Plan
from madrun.spec.record import Failure
from madrun.spec.topology import Meeting

_TELL_S, _BETWEEN_S = 2.0, 0.02


def check_names(plan: Plan, facts: HostFacts) -> None:
    """On a single node: the interfaces that were named are there; else `ContextError` with those that are.

    A container in a network of its own has interfaces that nobody knows before it stands.
    """
    node = plan.node
    enclosed = node.container is not None and node.container.network != "host"
    if enclosed or not facts.interfaces or not interface_notes(node.gloo_ifname, node.nccl_ifname, facts.interfaces):
        return
    problems = interface_problems(node.gloo_ifname, node.nccl_ifname, facts.interfaces, interface_states())
    raise ContextError("; ".join(problems))


def check_interfaces(plan: Plan, facts: HostFacts, link: Link | None = None) -> None:
    """The interfaces that torch will be told are of use here; else `ContextError`, and the other nodes hear of it.

    Node 0 asks before it listens, and has no `link` then.
    """
    node = plan.node
    problems = _against_rdma(plan, facts)
    if facts.interfaces:  # where they could not be listed, nothing is known against any
        problems += interface_problems(node.gloo_ifname, node.nccl_ifname, facts.interfaces, interface_states())
        problems += _leading_nowhere(plan, facts)
    if problems:
        text = "; ".join(problems)
        where = f"node {node.node_rank} ({node.hostname})"
        if link is None:
            farewell(_meeting(plan), text)
        else:
            fail_all(link, Failure(kind="gate", text=f"{where}: {text}", node=node.node_rank))
        raise ContextError(text)


def _against_rdma(plan: Plan, facts: HostFacts) -> list[str]:
    """Why this host cannot do what TRANSPORT rdma asks for."""
    if plan.job.transport != "rdma":
        return []
    from madrun.planning.fabric import fabric_problems

    return fabric_problems(plan.job, plan.node, facts)


def _leading_nowhere(plan: Plan, facts: HostFacts) -> list[str]:
    """Interfaces that torch will be told and that lead nowhere, where the nodes are on several hosts."""
    if ip_address(plan.node.master_addr).is_loopback:
        return []
    useful = [one for one in facts.interfaces if any(map(_is_useful, one.addresses))]
    advice = f"give another in GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME; it has: {named(useful)}"
    lines = [
        f"interface {name} of this host has {address}, which no other host reaches; {advice}"
        for name, address in used_addresses(plan, facts)
        if ip_address(address).is_loopback
    ]
    for one in _used(plan, facts):
        if not any(map(_is_complete, one.addresses)):
            said = f"interface {one.name} of this host has link-local addresses alone ({', '.join(one.addresses)})"
            lines.append(f"{said}; {advice}")
    return lines


def _is_complete(address: str) -> bool:
    """Whether the address means the same without the name of an interface."""
    return not (":" in address and ip_address(address).is_link_local)


def _is_useful(address: str) -> bool:
    return _is_complete(address) and not ip_address(address).is_loopback


def _meeting(plan: Plan) -> Meeting:
    node = plan.node
    return Meeting(
        nnodes=plan.job.nnodes,
        node_rank=node.node_rank,
        address=node.master_addr,
        port=node.control_port,
        hostname=node.hostname,
        cards=plan.job.card,
    )


def fail_all(link: Link, failure: Failure) -> None:
    """Tells all nodes, and waits a moment until node 0 has passed it on."""
    link.fail(failure)
    deadline = time.monotonic() + _TELL_S
    while link.failure is None and time.monotonic() < deadline:
        time.sleep(_BETWEEN_S)


def _used(plan: Plan, facts: HostFacts) -> list[Interface]:
    known = {interface.name: interface for interface in facts.interfaces}
    names = used_interfaces(plan.node.gloo_ifname, plan.node.nccl_ifname, tuple(known))
    return [known[name] for name in names]


def used_addresses(plan: Plan, facts: HostFacts) -> list[tuple[str, str]]:
    """Interface and address that Gloo and NCCL will use here, Gloo's first.

    Each takes the first address of its interface as the kernel lists them; NCCL that of IPv6 where MASTER_ADDR is one.
    """
    six = ip_address(plan.node.master_addr).version == 6
    used = _used(plan, facts)
    found = [(one.name, address) for one in used[:1] for address in _first(one, False)]
    found += [(one.name, address) for one in used[-1:] for address in _first(one, six)]
    return list(dict.fromkeys(found))


def _first(one: Interface, six: bool) -> list[str]:
    usable = [address for address in one.addresses if _is_complete(address)]
    return sorted(usable, key=lambda address: six and ":" not in address)[:1]


def own_address(plan: Plan, facts: HostFacts) -> tuple[str, str]:
    """Interface of Gloo, and its address by which the other nodes know this host; empty where there is none.

    MASTER_ADDR where it is this host's, else one of its family.
    """
    master = plan.node.master_addr
    for one in _used(plan, facts)[:1]:
        usable = [address for address in one.addresses if _is_complete(address)]
        usable.sort(key=lambda a: (a != master, (":" in a) != (":" in master)))
        return (one.name, usable[0]) if usable else ("", "")
    return "", ""


def used_network(plan: Plan, facts: HostFacts) -> str:
    """The network (CIDR) of the interface that Gloo will use here; empty where it is not known."""
    return next((network_towards(one, plan.node.master_addr) for one in _used(plan, facts)), "")


def other_addresses(master: str, facts: HostFacts) -> list[str]:
    """Where else than at `master` a node that was given another address of this host may call."""
    known = [address for interface in facts.interfaces for address in interface.addresses]
    if ip_address(master).is_loopback:  # a run of one host is not to be reached from others
        known = [address for address in known if ip_address(address).is_loopback]
    return [address for address in dict.fromkeys(known) if address != master and _is_complete(address)]
