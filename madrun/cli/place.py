"""Where this node meets the others: addresses and ports that can serve it, or the error that says which cannot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from madrun.errors import ContextError
from madrun.planning import topology as topo
from madrun.probe import network
from madrun.spec.card import Card
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.facts import HostFacts
from madrun.spec.plan import NodePlan
from madrun.spec.topology import Meeting, Topology

Tell = Callable[[Meeting, str], None]


def nobody(_meeting: Meeting, _reason: str) -> None:
    """Tells nobody: nothing is about to run, and nobody waits."""


def find_topology(card: Card, context: Context, facts: HostFacts, claims: list[network.PortClaim]) -> Topology:
    """The topology that the context and this host mean; a port that was found is claimed."""
    args = context.multi_node_args
    master = resolve_master(args, facts)
    free_port = 0
    if args.NNODES == 1 and args.MASTER_PORT is None:
        claim = network.claim_free_port(_first_port(card))
        claims.append(claim)
        free_port = claim.port
    local = network.local_address_towards(master)
    topology = topo.resolve_topology(args, facts, card.gpus_per_node, master, local, free_port)
    _check_ports(topology)
    return topology


def resolve_master(args: MultiNodeArgs, facts: HostFacts) -> str:
    """MASTER_ADDR as a literal that can serve this node; `ContextError` where it cannot."""
    master = network.resolve(args.MASTER_ADDR)
    topo.check_name_of_master(args, master, facts, network.line_of_hosts(args.MASTER_ADDR))
    topo.check_master_is_here(args, master, facts)
    return master


def _check_ports(topology: Topology) -> None:
    """On node 0 a server can listen on the master's port, and with several nodes on the control port."""
    if topology.node_rank != 0:
        return
    ports = {"MASTER_PORT": topology.master_port}
    if topology.nnodes > 1:
        ports["CONTROL_PORT"] = topology.control_port
    for key, port in ports.items():
        trouble = network.port_trouble(port, topology.master_addr)
        if trouble:
            raise ContextError(f"multi_node_args.{key}: {port} {trouble}")


def port_notes(node: Topology | NodePlan, nnodes: int) -> list[str]:
    """On node 0 of several a line for each port that may be taken at any moment."""
    if nnodes == 1 or node.node_rank != 0:
        return []
    ports = {"MASTER_PORT": node.master_port, "CONTROL_PORT": node.control_port}
    return list(filter(None, (network.ephemeral_note(key, port) for key, port in ports.items())))


def _first_port(card: Card) -> int:
    """Where the search for a free port begins: the same for equal cards, so that a printed plan stays true."""
    digest = hashlib.sha256(f"{card.name} {card.args}".encode()).digest()
    return network.PORTS[int.from_bytes(digest[:4], "big") % len(network.PORTS)]


def meeting_of(args: MultiNodeArgs, facts: HostFacts, cards: str) -> Meeting:
    """Where the nodes of this job meet."""
    port = args.CONTROL_PORT or (args.MASTER_PORT or topo.DEFAULT_PORT) + 1
    return Meeting(
        nnodes=args.NNODES,
        node_rank=args.NODE_RANK,
        address=args.MASTER_ADDR.strip("[]"),
        port=port,
        hostname=facts.hostname,
        cards=cards,
    )
