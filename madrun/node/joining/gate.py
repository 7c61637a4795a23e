"""The gate: what each node offers of itself when the nodes join, and what is made of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from madrun import __version__
from madrun.node.channel.link import Link
from madrun.node.joining.doorways import check_interfaces, own_address, used_addresses, used_network
from madrun.node.joining.reach import Doors, call_all
from madrun.planning.job import summary
from madrun.spec.codec import from_plain
from madrun.spec.facts import Gpu, HostFacts
from madrun.spec.plan import NodePlan, Plan
from madrun.spec.record import Gate

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
        interface, address = own_address(plans[0], facts)
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
        "network": used_network(plan, facts),
        "transport": plan.job.transport,
        "rdma": _rdma(node, facts),
    }


def _rdma(node: NodePlan, facts: HostFacts) -> str:
    """The ports that are to carry the job, in numbers: `8 x infiniband 400 Gb/s`."""
    if not node.hcas:
        return ""
    from madrun.planning.dataplane import rails_of, said_rate

    return _counted([f"{one.kind} {said_rate(one.port)}" for one in rails_of(facts) if one.name in node.hcas])


def _counted(words: list[str]) -> str:
    return ", ".join(f"{count} x {word}" for word, count in sorted(Counter(filter(None, words)).items()))


def _partitions(gpus: list[Gpu]) -> str:
    names = [partition.name for gpu in gpus for partition in gpu.partitions]
    return _counted(names) or ("MIG on, no instance" if any(gpu.mig for gpu in gpus) else "")


def gate_of(data: Any, notes: tuple[str, ...] = ()) -> Gate:
    """What the judges found, from what node 0 released; `notes` are those of the first stage."""
    found = dict(data or {})
    found["notes"] = [*notes, *found.get("notes", ())]
    return from_plain(Gate, found)
