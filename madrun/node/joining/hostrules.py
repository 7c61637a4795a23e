"""What must be the same on all hosts of a run, what should be, and what is only said: one table, pure functions.

A difference that falsifies the number, or hangs the run, refuses; any other is a note of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from madrun.node.joining.differences import nodes, odd_one, spread
from madrun.units import format_size

Offer = Mapping[str, Any]
Offers = Mapping[int, Offer]
_LOW_BYTES, _LOW_SHARE = 1 << 30, 0.02
_OFFSET_S = 1.0
_CLOSE = 1.05


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: whether it refuses, the node it is put down to, and the sentence."""

    refuses: bool
    node: int
    text: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """`key` of the offers must be equal, else `what` differs; `advice` says what to do. A `size` may differ a bit."""

    key: str
    what: str
    refuses: bool
    advice: str = ""
    size: bool = False


_ADDRESS = "give MASTER_ADDR on every node as one IP address of node 0"
RULES = (
    _Rule("master", "MASTER_ADDR (as each node resolves it)", True, _ADDRESS),
    _Rule("master_port", "MASTER_PORT", True, "give the same on every node"),
    _Rule("local_data", "--local-data", True, "give it on every node or on none"),
    _Rule("machine", "the processor's architecture", True, "use hosts of one kind"),
    _Rule("gpus", "GPUs of the job", True, "choose the same number and kind with docker_gpus, or other hosts"),
    _Rule("arch", "GPU architecture", True, "use hosts with the same GPUs"),
    _Rule("partitions", "partitions of the GPUs (MIG)", True, "partition them alike"),
    _Rule("driver", "GPU driver", False),
    _Rule("stack", "ROCm or CUDA of the driver", False),
    _Rule("gpu_memory", "memory of the GPUs", False, size=True),
    _Rule("infiniband", "number of InfiniBand or RoCE devices", False),
    _Rule("engine", "container engine", False),
    _Rule("python", "python", False),
    _Rule("kernel", "kernel", False),
    _Rule("cpu", "CPU model", False),
    _Rule("cpus", "CPUs", False),
    _Rule("memory", "memory", False, size=True),
)


def compare(offers: Offers, hosts: Mapping[int, str]) -> list[Finding]:
    """Every difference between the nodes, in the order in which they matter."""
    findings = [*_loopback(offers, hosts)]
    for rule in RULES:
        values = {rank: offer.get(rule.key) for rank, offer in offers.items()}
        if rule.size:
            values = _sizes(values)
        text = spread(values, hosts)
        if text:
            advice = f"; {rule.advice}" if rule.advice else ""
            findings.append(Finding(rule.refuses, odd_one(values), f"{rule.what} differs: {text}{advice}"))
    checks: tuple[Callable[[Offers, Mapping[int, str]], list[Finding]], ...] = (
        _rdma,
        _disks,
        _shared_gpus,
        _names,
        _networks,
    )
    return [*findings, *(finding for check in checks for finding in check(offers, hosts))]


def offset_notes(offsets: Mapping[int, float | None], hosts: Mapping[int, str]) -> list[str]:
    """A line for each clock that is more than a second away from node 0's."""
    far = {rank: at for rank, at in sorted(offsets.items()) if at is not None and abs(at) > _OFFSET_S}
    return [
        f"the clock of {nodes([rank], hosts)} is {abs(at):.1f} s {'ahead of' if at > 0 else 'behind'} that of node 0; "
        "set the clocks (chrony, ntpd) if log times or elastic shut-downs are to agree"
        for rank, at in far.items()
    ]


def _sizes(values: Mapping[int, Any]) -> dict[int, Any]:
    """As text; all the same where they lie within a few percent, as the memory of equal hosts does."""
    known = [int(value) for value in values.values() if value]
    if len(known) == len(values) and max(known) <= _CLOSE * min(known):
        return dict.fromkeys(values, "")
    return {rank: format_size(int(value)) if value else "" for rank, value in values.items()}


def _loopback(offers: Offers, hosts: Mapping[int, str]) -> list[Finding]:
    """A loopback address is right only where all nodes are on one host."""
    found = []
    for rank, offer in sorted(offers.items()):
        master, here = str(offer.get("master") or ""), offer.get("host_id")
        if rank and master and ip_address(master).is_loopback and here != offers.get(0, {}).get("host_id"):
            text = (
                f"MASTER_ADDR is this very machine: {master} on {nodes([rank], hosts)}, while node 0 is another host; "
                f"{_ADDRESS}"
            )
            found.append(Finding(True, rank, text))
    return found


def _rdma(offers: Offers, hosts: Mapping[int, str]) -> list[Finding]:
    """The ports that carry the job: a collective is as fast as its slowest node."""
    values = {rank: offer.get("rdma") or "" for rank, offer in offers.items()}
    text = spread(values, hosts)
    if not text:
        return []
    asked = any(offer.get("transport") == "rdma" for offer in offers.values())
    advice = "look why a port is down or slower, or give NCCL_IB_HCA with as many alike on every node"
    return [Finding(asked, odd_one(values), f"RDMA ports that carry the job differ: {text}; {advice}")]


def _disks(offers: Offers, hosts: Mapping[int, str]) -> list[Finding]:
    """No space for the run's files refuses; little space is said."""
    found = []
    for rank, offer in sorted(offers.items()):
        for place, (free, size) in sorted((offer.get("disks") or {}).items()):
            where = f"{nodes([rank], hosts)}: {place}"
            if free == 0:
                text = f"no disk space is left on {where}; free some, or name another directory"
                found.append(Finding(place.startswith("results"), rank, text))
            elif free < _LOW_BYTES or free < _LOW_SHARE * size:
                text = f"little disk space on {where} has {format_size(free)} of {format_size(size)} left"
                found.append(Finding(False, rank, text))
    return found


def _shared_gpus(offers: Offers, hosts: Mapping[int, str]) -> list[Finding]:
    """One GPU that two nodes were given: they slow each other down."""
    users: dict[str, list[int]] = {}
    for rank, offer in sorted(offers.items()):
        for uuid in offer.get("uuids") or ():
            users.setdefault(uuid, []).append(rank)
    shared = {tuple(ranks) for ranks in users.values() if len(ranks) > 1}
    return [
        Finding(False, ranks[-1], f"{nodes(list(ranks), hosts)} use the same GPUs: the number is that of shared GPUs")
        for ranks in sorted(shared)
    ]


def _networks(offers: Offers, hosts: Mapping[int, str]) -> list[Finding]:
    """The nodes' interfaces lie in networks that have nothing in common; those of one address lie in none."""
    said = {rank: str(offer.get("network") or "") for rank, offer in offers.items()}
    networks = {rank: ip_network(text) for rank, text in said.items() if text}
    if any(network.num_addresses == 1 for network in networks.values()):
        return []
    widest = sorted(set(networks.values()), key=lambda network: network.prefixlen)
    groups = {
        rank: str(next(wide for wide in widest if wide.version == network.version and wide.overlaps(network)))
        for rank, network in networks.items()
    }
    text = spread(groups, hosts)
    if not text:
        return []
    return [Finding(False, odd_one(groups), f"network of the chosen interface differs: {text}; packets go by a router")]


def _names(offers: Offers, hosts: Mapping[int, str]) -> list[Finding]:
    """Two hosts with one name: names then stand for nothing."""
    found: dict[str, dict[str, int]] = {}
    for rank, offer in sorted(offers.items()):
        found.setdefault(hosts.get(rank, ""), {}).setdefault(str(offer.get("host_id")), rank)
    return [
        Finding(False, max(ids.values()), f"{len(ids)} hosts have the one name {name}: logs tell them apart by rank")
        for name, ids in found.items()
        if name and len(ids) > 1
    ]
