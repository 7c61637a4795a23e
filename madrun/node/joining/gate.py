"""The gate: what each node offers of itself when the nodes join, and what is made of it."""

from __future__ import annotations

import time
from collections import Counter
from ipaddress import ip_address
from typing import Any

from madrun import __version__
from madrun.errors import ContextError
from madrun.node.channel.link import Link
from madrun.node.joining.farewell import farewell
from madrun.node.joining.reach import Doors, call_all
from madrun.planning.job import summary
from madrun.planning.topology import interface_problems, used_interfaces
from madrun.probe.network import interface_states
from madrun.spec.codec import from_plain
from madrun.spec.facts import Gpu, HostFacts
from madrun.spec.plan import Plan
from madrun.spec.record import Failure, Gate
from madrun.spec.topology import Meeting

_TELL_S, _BETWEEN_S = 2.0, 0.02
_CALLERS = 64  # strangers at a time, besides the nodes


def pass_gate(link: Link, plans: list[Plan], facts: HostFacts) -> Gate:
    """Returns what was found when all nodes agree and reach each other.

    Raises `Aborted` with the reason, on every node; `ContextError` where this node cannot do what its context says.
    """
    node = plans[0].node
    if node.node_rank != 0:
        check_interfaces(plans[0], facts, link)
    addresses = used_addresses(plans[0], facts)
    master = [(node.master_addr, node.master_port, "MASTER_PORT")] if node.node_rank == 0 else []
    with Doors(addresses, master, _CALLERS + 2 * plans[0].job.nnodes) as doors:
        first, _ = link.meet("join/jobs", greeting(plans, facts) | {"offer": offer(plans[0], facts, doors)})
        first = first or {}
        peers = first.get("peers", [])
        failed = call_all(peers)
        interface, address = addresses[0] if addresses else ("", "")
        found = {
            "hostname": node.hostname,
            "interface": interface,
            "address": address,
            "tried": len(peers),
            "failed": failed,
            "offset_s": link.offset_s,
            "check_reach": node.check_reach,
        }
        data, _ = link.meet("join/reach", found)
    return gate_of(data, tuple(first.get("notes", ())))


def check_interfaces(plan: Plan, facts: HostFacts, link: Link | None = None) -> None:
    """The interfaces that torch will be told are of use here; else `ContextError`, and the other nodes hear of it.

    Node 0 asks before it listens, and has no `link` then.
    """
    node = plan.node
    if not facts.interfaces:
        return  # of this host they could not be listed: then nothing is known against any
    problems = interface_problems(node.gloo_ifname, node.nccl_ifname, facts.interfaces, interface_states())
    problems += _loopback_only(plan, facts)
    if problems:
        text = "; ".join(problems)
        where = f"node {node.node_rank} ({node.hostname})"
        if link is None:
            farewell(_meeting(plan), text)
        else:
            fail_all(link, Failure(kind="gate", text=f"{where}: {text}", node=node.node_rank))
        raise ContextError(f"multi_node_args: {text}")


def _loopback_only(plan: Plan, facts: HostFacts) -> list[str]:
    """Interfaces that torch will be told and that lead nowhere, where the nodes are on several hosts."""
    if ip_address(plan.node.master_addr).is_loopback:
        return []
    used = used_addresses(plan, facts)
    useful = [i.name for i in facts.interfaces if not all(ip_address(address).is_loopback for address in i.addresses)]
    return [
        f"interface {name} of this host has {address}, which no other host reaches; give another in "
        f"GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME; it has: {', '.join(useful) or 'none'}"
        for name, address in used
        if ip_address(address).is_loopback
    ]


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


def greeting(plans: list[Plan], facts: HostFacts) -> dict[str, Any]:
    """Who this node is and which jobs it is about to run."""
    jobs = [{"hash": plan.job_hash, "summary": summary(plan.job)} for plan in plans]
    return {"hostname": plans[0].node.hostname, "madrun": __version__, "jobs": jobs}


def offer(plan: Plan, facts: HostFacts, doors: Doors | None = None) -> dict[str, Any]:
    """What node 0 has to know of this node before it lets the nodes begin; plain data, about a kilobyte."""
    node, accelerator, engine = plan.node, facts.accelerator, facts.engine
    gpus = [gpu for gpu in accelerator.gpus if gpu.index in node.gpus]
    in_container = plan.job.in_container
    return {
        "host_id": facts.host_id,
        "master": node.master_addr,
        "master_port": node.master_port,
        "local_data": node.local_data,
        "machine": facts.machine,
        "gpus": _counted([gpu.model or gpu.arch or "GPU" for gpu in gpus]),
        "arch": _counted([gpu.arch for gpu in gpus]),
        "partitions": _partitions(gpus),
        "gpu_memory": min((gpu.memory for gpu in gpus if gpu.memory), default=0),
        "uuids": [gpu.uuid for gpu in gpus if gpu.uuid and not gpu.partitions],
        "driver": accelerator.driver,
        "stack": accelerator.stack,
        "infiniband": sum("uverbs" in device for device in facts.infiniband),
        "engine": f"{engine.name} {engine.version}" if engine and in_container else "",
        "python": "" if in_container else facts.python,
        "kernel": facts.kernel,
        "cpu": facts.cpu,
        "cpus": facts.cpus,
        "memory": facts.memory,
        "disks": {name: list(space) for name, space in facts.disks.items()},
        "at": [list(at) for at in doors.at] if doors else [],
        "nonce": doors.nonce if doors else "",
    }


def _counted(words: list[str]) -> str:
    return ", ".join(f"{count} x {word}" for word, count in sorted(Counter(filter(None, words)).items()))


def _partitions(gpus: list[Gpu]) -> str:
    names = [partition.name for gpu in gpus for partition in gpu.partitions]
    return _counted(names) or ("MIG on, no instance" if any(gpu.mig for gpu in gpus) else "")


def used_addresses(plan: Plan, facts: HostFacts) -> list[tuple[str, str]]:
    """Interface and address that Gloo and NCCL will use here, Gloo's first; in the family of MASTER_ADDR."""
    node = plan.node
    known = {interface.name: interface.addresses for interface in facts.interfaces}
    wanted = ip_address(node.master_addr)
    found: list[tuple[str, str]] = []
    for name in used_interfaces(node.gloo_ifname, node.nccl_ifname, tuple(known)):
        usable = [a for a in known[name] if not (":" in a and ip_address(a).is_link_local)]
        usable.sort(key=lambda a: (a != node.master_addr, ip_address(a).version != wanted.version))
        found += [(name, usable[0])] if usable else []
    return list(dict.fromkeys(found))


def other_addresses(master: str, facts: HostFacts) -> list[str]:
    """Where else than at `master` a node that was given another address of this host may call."""
    known = [address for interface in facts.interfaces for address in interface.addresses]
    if ip_address(master).is_loopback:  # a run of one host is not to be reached from others
        known = [address for address in known if ip_address(address).is_loopback]
    return [a for a in dict.fromkeys(known) if a != master and not (":" in a and ip_address(a).is_link_local)]


def gate_of(data: Any, notes: tuple[str, ...] = ()) -> Gate:
    """What the judges found, from what node 0 released; `notes` are those of the first stage."""
    found = dict(data or {})
    found["notes"] = [*notes, *found.get("notes", ())]
    return from_plain(Gate, found)
