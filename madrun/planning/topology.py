"""From the context's words and the host's facts to a topology that can be believed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from madrun.errors import ContextError
from madrun.planning.devices import most_processes
from madrun.spec.context import MultiNodeArgs
from madrun.spec.facts import HostFacts, Interface
from madrun.spec.topology import Topology
from madrun.spec.validation import did_you_mean

DEFAULT_PORT = 29501
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


def interface_of(address: str, interfaces: tuple[Interface, ...]) -> str:
    """The name of the interface that has the address; loopback addresses all belong to the loopback interface."""
    for interface in interfaces:
        if address in interface.addresses:
            return interface.name
    if _is_loopback(address):
        return next((i.name for i in interfaces if any(_is_loopback(a) for a in i.addresses)), "lo")
    raise ContextError(f"no interface of this host has the address {address}; give NCCL_SOCKET_IFNAME")


def resolve_topology(
    args: MultiNodeArgs, facts: HostFacts, gpus_per_node: int | None, master: str, local: str, free_port: int
) -> Topology:
    """`master` and `local`: literals of node 0 and of this host on the way there; `free_port` serves one node."""
    port = args.MASTER_PORT or (DEFAULT_PORT if args.NNODES > 1 else free_port)
    chosen = interface_of(local, facts.interfaces)
    return Topology(
        nnodes=args.NNODES,
        node_rank=args.NODE_RANK,
        nproc_per_node=_processes(args, facts, gpus_per_node),
        master_addr=master,
        master_port=port,
        control_port=args.CONTROL_PORT or port + 1,
        # NCCL takes a prefix unless the name starts with "="; Gloo takes one concrete name.
        nccl_ifname=_given_interface("NCCL_SOCKET_IFNAME", args.NCCL_SOCKET_IFNAME) or f"={chosen}",
        gloo_ifname=_given_interface("GLOO_SOCKET_IFNAME", args.GLOO_SOCKET_IFNAME) or chosen,
    )


def _given_interface(key: str, value: str | None) -> str:
    if value and not _IFNAME.fullmatch(value):
        raise ContextError(f"multi_node_args.{key}: found {value!r}, allowed: the name of an interface")
    return value or ""


def interface_notes(args: MultiNodeArgs, interfaces: tuple[Interface, ...]) -> list[str]:
    """A line for each interface that was named and that this host lacks.

    No error: the plan of one node is also made on another host, to be read.
    """
    names = tuple(interface.name for interface in interfaces)
    return _lacking(args.GLOO_SOCKET_IFNAME or "", args.NCCL_SOCKET_IFNAME or "", names, {})


def interface_problems(gloo: str, nccl: str, interfaces: tuple[Interface, ...], states: Mapping[str, str]) -> list[str]:
    """What is wrong here with the interfaces that torch will be told: it is not there, has no address, or is down.

    `states`: `up`, `down`, or `without an address`, of every interface of the host.
    """
    names = tuple(interface.name for interface in interfaces)
    lines = _lacking(gloo, nccl, names, states)
    down = [name for name in used_interfaces(gloo, nccl, names) if states.get(name) == "down"]
    return [*lines, *(f"interface {name} of this host is down; ip link set {name} up" for name in down)]


def _lacking(gloo: str, nccl: str, names: tuple[str, ...], states: Mapping[str, str]) -> list[str]:
    missing = []
    if _nccl_words(nccl) and not _nccl_interfaces(nccl, names):
        missing.append(("NCCL_SOCKET_IFNAME", _nccl_words(nccl)))
    absent = [word for word in gloo.split(",") if word and word not in names]
    if absent:
        missing.append(("GLOO_SOCKET_IFNAME", absent))
    has = ", ".join(names) or "none"
    told = [(key, _told(key, words, names, states)) for key, words in missing]
    return [f"{key}: this host has no interface {words}; it has: {has}" for key, words in told]


def _told(key: str, words: list[str], names: tuple[str, ...], states: Mapping[str, str]) -> str:
    """The names that are missing, with what is known of why."""
    texts = []
    for word in words:
        bare, why = word.lstrip("=^"), ""
        if bare in states and bare not in names:
            why = " with an address (it is there, and has none)"
        elif key.startswith("GLOO") and (word != bare or any(name.startswith(word) for name in names)):
            why = " (Gloo takes whole names: no prefix, no =, no ^)"
        texts.append(f"{word}{why}")
    return ", ".join(texts)


def used_interfaces(gloo: str, nccl: str, names: tuple[str, ...]) -> list[str]:
    """The interfaces of this host that Gloo and NCCL will use, Gloo's first; NCCL chooses itself where it excludes."""
    chosen = [word for word in gloo.split(",") if word in names][:1]
    return list(dict.fromkeys([*chosen, *_nccl_interfaces(nccl, names)[:1]]))


def _nccl_words(nccl: str) -> list[str]:
    """NCCL: "^" excludes, "=" is exact, else each of the list is a prefix, and one that is there will do."""
    return [] if nccl.startswith("^") else [word.partition(":")[0] for word in nccl.lstrip("=").split(",") if word]


def _nccl_interfaces(nccl: str, names: tuple[str, ...]) -> list[str]:
    exact = nccl.startswith("=")
    wanted = _nccl_words(nccl)
    return [name for word in wanted for name in names if (name == word if exact else name.startswith(word))]


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
