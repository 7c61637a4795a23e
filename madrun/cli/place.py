"""Where this node meets the others: addresses and ports that can serve it, or the error that says which cannot."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable

from madrun.errors import ContextError
from madrun.planning import topology as topo
from madrun.planning.mad.distributed import launcher_of
from madrun.planning.mpihosts import check_hosts, host_list_notes, launch_notes, own_entry
from madrun.planning.namedinterfaces import interface_notes
from madrun.probe import network
from madrun.probe.environment import launched_by
from madrun.spec.card import Card
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.facts import HostFacts
from madrun.spec.plan import NodePlan, Plan
from madrun.spec.topology import Meeting, Topology

_NAME_S, _NAME_AGAIN_S = 600.0, 0.5  # as --join-timeout is by default
Tell = Callable[[Meeting, str], None]


def nobody(_meeting: Meeting, _reason: str) -> None:
    """Tells nobody: nothing is about to run, and nobody waits."""


def find_topology(
    card: Card, context: Context, facts: HostFacts, claims: list[network.PortClaim], open_ports: bool = True
) -> Topology:
    """The topology that the context and this host mean; a port that was found is claimed.

    `open_ports`: `ContextError` where a port of node 0 cannot be listened on.
    """
    args = topo.with_variables(context.multi_node_args, context.docker_env_vars)
    master = resolve_master(args, facts)
    free_port = 0
    if args.NNODES == 1 and args.MASTER_PORT is None:
        claim = network.claim_free_port(_first_port(card))
        claims.append(claim)
        free_port = claim.port
    local = network.local_address_towards(master)
    topology = topo.resolve_topology(args, facts, card.gpus_per_node, master, local, free_port)
    check_hosts(args, topology.nproc_per_node, facts, network.addresses_of(own_entry(args)))
    if open_ports:
        _check_ports(topology)
    return topology


def resolve_master(args: MultiNodeArgs, facts: HostFacts) -> str:
    """MASTER_ADDR as a literal that can serve this node; `ContextError` where it cannot.

    In a launch node 0 may not have its name yet: it is waited for as long as the nodes wait for each other.
    """
    master = _resolve_in_time(args.MASTER_ADDR, _NAME_S if launched_by() else 0.0)
    topo.check_scope(args, master)
    topo.check_name_of_master(args, master, facts, network.line_of_hosts(args.MASTER_ADDR))
    topo.check_master_is_here(args, master, facts)
    return master


def _resolve_in_time(address: str, limit_s: float) -> str:
    deadline, said = time.monotonic() + limit_s, False
    while True:
        try:
            return network.resolve(address)
        except ContextError:
            if time.monotonic() >= deadline:
                raise
        if not said:
            sys.stderr.write(f"madrun: waiting until node 0 has its name: {address}\n")
            said = True
        time.sleep(_NAME_AGAIN_S)


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


def place_notes(context: Context, topology: Topology, facts: HostFacts) -> list[str]:
    """What is to be said of the interfaces and ports of this node."""
    args = topo.with_variables(context.multi_node_args, context.docker_env_vars)
    lacking = interface_notes(args.GLOO_SOCKET_IFNAME or "", args.NCCL_SOCKET_IFNAME or "", facts.interfaces)
    unheard = [*host_list_notes(args, launcher_of(context.distributed)), *launch_notes(args)]
    return [*lacking, *unheard, *topology.doubts, *port_notes(topology, topology.nnodes)]


def refusals(plan: Plan, facts: HostFacts) -> set[str]:
    """Notes of a plan that end a run of it on this host, with the same words: `run` need not say them twice."""
    job, node = plan.job, plan.node
    # A single container in a network of its own has interfaces that nobody knows before it stands.
    enclosed = job.nnodes == 1 and node.container is not None and node.container.network != "host"
    lines = [] if enclosed else interface_notes(node.gloo_ifname, node.nccl_ifname, facts.interfaces)
    if job.transport == "rdma":
        from madrun.planning.fabric import fabric_problems

        lines += fabric_problems(job, node, facts)
    return set(lines)


def place_whys(context: Context, topology: Topology) -> dict[str, str]:
    """By key of the context why an interface was chosen."""
    said = context.docker_env_vars
    return {
        f"multi_node_args.{name}": f"docker_env_vars.{name}" if said.get(name) else topology.why
        for name in topo.OF_INTERFACES
    }


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
