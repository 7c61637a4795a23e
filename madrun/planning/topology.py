"""From the context's words and the host's facts to a topology that can be believed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import replace

from madrun.errors import ContextError
from madrun.planning.devices import most_processes
from madrun.planning.namedinterfaces import settle
from madrun.spec.context import MultiNodeArgs
from madrun.spec.facts import HostFacts
from madrun.spec.topology import Topology
from madrun.spec.validation import did_you_mean

DEFAULT_PORT = 29501
OF_INTERFACES = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")  # each node has its own: no part of the job
_IFNAME = re.compile(r"\^?=?[A-Za-z0-9._:@-]+(,[A-Za-z0-9._:@-]+)*")


def with_scheduler(args: dict[str, object], scheduler: dict[str, str]) -> dict[str, object]:
    """NNODES and NODE_RANK from the scheduler where not given; given and different is an error."""
    merged = dict(args)
    for name, value in scheduler.items():
        given = args.get(name)
        if given is not None and str(given) != value:
            raise ContextError(
                f"multi_node_args.{name}: found {given!r}, but the scheduler's environment says {value}; "
                "leave it out, or start outside the scheduler's step"
            )
        merged[name] = value
    return merged


def check_ranks(args: MultiNodeArgs, runners: tuple[str, ...]) -> None:
    """RUNNER is known, NODE_RANK lies below NNODES, the two ports differ; else `ContextError`."""
    if args.RUNNER not in runners:
        hint = did_you_mean(args.RUNNER, runners)
        raise ContextError(
            f"multi_node_args.RUNNER: found {args.RUNNER!r}{hint}, allowed: {', '.join(sorted(runners))}"
        )
    if args.RUNNER == "plain" and (args.NPROC_PER_NODE or 1) > 1:
        raise ContextError(
            f"multi_node_args.NPROC_PER_NODE: found {args.NPROC_PER_NODE} with RUNNER 'plain', which starts one "
            "process on each node; allowed: 1, or another RUNNER"
        )
    if args.NODE_RANK >= args.NNODES:
        raise ContextError(
            f"multi_node_args.NODE_RANK: found {args.NODE_RANK} with NNODES {args.NNODES}, "
            f"allowed: 0 to {args.NNODES - 1}"
        )
    check_ports(args)


def check_ports(args: MultiNodeArgs) -> None:
    """Both ports of a run of several nodes have to be ports, and two; else `ContextError`."""
    if args.MASTER_PORT is not None and args.MASTER_PORT == args.CONTROL_PORT:
        raise ContextError(
            f"multi_node_args.CONTROL_PORT: found {args.CONTROL_PORT}, which is MASTER_PORT; allowed: another port"
        )
    if args.MASTER_PORT == 65535 and args.CONTROL_PORT is None and args.NNODES > 1:
        raise ContextError(
            "multi_node_args.MASTER_PORT: found 65535, and CONTROL_PORT is MASTER_PORT + 1 unless given; give it"
        )


def check_name_of_master(args: MultiNodeArgs, address: str, facts: HostFacts, source: str = "") -> None:
    """With several nodes a host's name may not mean loopback, which only its own host reaches; else `ContextError`.

    `source`: the line that says so, `/etc/hosts:2`. Loopback that was asked for as such is right on one host.
    """
    said = args.MASTER_ADDR.strip("[]")
    if args.NNODES == 1 or not _is_loopback(address) or said in ("localhost", address) or _is_address(said):
        return
    here = [
        f"{literal} ({interface.name})"
        for interface in facts.interfaces
        for literal in interface.addresses
        if not _is_loopback(literal) and not ipaddress.ip_address(literal).is_link_local
    ]
    what = f"which {source or 'this host'} maps to {address}"
    if args.NODE_RANK == 0:
        raise ContextError(
            f"multi_node_args.MASTER_ADDR: found {args.MASTER_ADDR!r}, {what}: an address that no other host reaches; "
            f"give an address of this host on every node: {', '.join(here) or 'it has none but loopback'}; or correct "
            "that line"
        )
    raise ContextError(
        f"multi_node_args.MASTER_ADDR: found {args.MASTER_ADDR!r}, {what}: MASTER_ADDR is this very machine, and this "
        f"is node {args.NODE_RANK}; give the address of node 0's host as node 0 has it, or correct that line"
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def check_master_is_here(args: MultiNodeArgs, address: str, facts: HostFacts) -> None:
    """On node 0 the master's address is one of this host's; else `ContextError` lists them."""
    if args.NODE_RANK != 0 or _is_loopback(address):
        return
    known = [literal for interface in facts.interfaces for literal in interface.addresses]
    if address not in known:
        raise ContextError(
            f"multi_node_args.MASTER_ADDR: found {args.MASTER_ADDR!r} ({address}), which is not an address of this "
            f"host {facts.hostname} (NODE_RANK 0); allowed: {', '.join(known)}; if this host is not node 0, give it a "
            "NODE_RANK of its own"
        )


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def check_scope(args: MultiNodeArgs, address: str) -> None:
    """The master's address means the same on every node; `ContextError` for one of a single link of IPv6."""
    found = ipaddress.ip_address(address)
    if found.version == 6 and found.is_link_local:
        raise ContextError(
            f"multi_node_args.MASTER_ADDR: found {args.MASTER_ADDR!r} ({address}), a link-local address, which is "
            "complete only with the name of an interface of each single host; allowed: another address of node 0, of "
            "IPv4, or of IPv6 as 2001:db8::1 or fd00::1"
        )


def with_variables(args: MultiNodeArgs, variables: Mapping[str, str]) -> MultiNodeArgs:
    """The args with the interfaces that docker_env_vars names: what is said there stands above."""
    nccl, gloo = (variables.get(name) or getattr(args, name) for name in OF_INTERFACES)
    return replace(args, NCCL_SOCKET_IFNAME=nccl, GLOO_SOCKET_IFNAME=gloo)


def resolve_topology(
    args: MultiNodeArgs, facts: HostFacts, gpus_per_node: int | None, master: str, local: str, free_port: int
) -> Topology:
    """`master` and `local`: literals of node 0 and of this host on the way there; `free_port` serves one node."""
    port = args.MASTER_PORT or (DEFAULT_PORT if args.NNODES > 1 else free_port)
    gloo = _given_interface("GLOO_SOCKET_IFNAME", args.GLOO_SOCKET_IFNAME)
    nccl = _given_interface("NCCL_SOCKET_IFNAME", args.NCCL_SOCKET_IFNAME)
    settled = settle(gloo, nccl, (master, local), facts.interfaces, args.NNODES > 1)
    return Topology(
        nnodes=args.NNODES,
        node_rank=args.NODE_RANK,
        nproc_per_node=_processes(args, facts, gpus_per_node),
        master_addr=master,
        master_port=port,
        control_port=args.CONTROL_PORT or port + 1,
        nccl_ifname=settled.nccl,
        gloo_ifname=settled.gloo,
        address=local,
        network=settled.network,
        why=settled.why,
        doubts=settled.doubts,
    )


def _given_interface(key: str, value: str | None) -> str:
    if value and not _IFNAME.fullmatch(value):
        raise ContextError(f"{key}: found {value!r}, allowed: the name of an interface")
    return value or ""


def _processes(args: MultiNodeArgs, facts: HostFacts, gpus_per_node: int | None) -> int:
    found = most_processes(facts.accelerator)
    wanted = args.NPROC_PER_NODE or gpus_per_node or found or 1
    if found and wanted > found:
        key = "multi_node_args.NPROC_PER_NODE" if args.NPROC_PER_NODE else "the card's gpus_per_node"
        one = "GPU" if found == 1 else "GPUs"
        mig = ", with MIG on: a process sees one instance" if found < facts.accelerator.count else ""
        raise ContextError(
            f"{key}: found {wanted}, but the job has {found} {one} on this host{mig}; allowed: 1 to {found}"
        )
    return 1 if args.RUNNER == "plain" else wanted
