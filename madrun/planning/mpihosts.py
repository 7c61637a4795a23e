"""HOST_LIST: the hosts of mpirun in order of rank, each with its slots, as `a:8,b:8`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from madrun.errors import ContextError
from madrun.spec.context import MultiNodeArgs
from madrun.spec.facts import HostFacts

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\.?")
_SLOTS = re.compile(r"[0-9]{1,6}")
_ALLOWED = "allowed: one host for each node in the order of NODE_RANK, as 'a:8,b:8', 'a,b', '10.0.0.1:8' or '[fd00::1]'"
_HEEDED = ("mpirun",)


@dataclass(frozen=True, slots=True)
class Host:
    """One entry: a name or an address without brackets, and how many ranks it is to get; None where it does not say."""

    name: str
    slots: int | None = None


def parse_hosts(text: str) -> tuple[Host, ...]:
    """The entries of HOST_LIST, nothing for an empty text; `ContextError` names the one that is wrong."""
    if not text.strip():
        return ()
    hosts = tuple(_parse(entry.strip(), text) for entry in text.split(","))
    names = [host.name.lower() for host in hosts]
    for name in names:
        if names.count(name) > 1:
            raise _wrong(text, f"{name} stands there twice")
    return hosts


def names_of(args: MultiNodeArgs) -> tuple[str, ...]:
    """The names of HOST_LIST in order, where the runner heeds it."""
    return tuple(host.name for host in parse_hosts(args.HOST_LIST or "")) if args.RUNNER in _HEEDED else ()


def check_hosts(args: MultiNodeArgs, slots: int, facts: HostFacts, resolved: tuple[str, ...]) -> None:
    """`ContextError` where HOST_LIST is heeded, and is not that of this job, or its entry is not this host.

    `slots`: ranks that every node gets. `resolved`: addresses of the entry for this node's rank, empty for a name that
    this host does not know.
    """
    text = args.HOST_LIST or ""
    hosts = parse_hosts(text) if args.RUNNER in _HEEDED else ()
    if not hosts:
        return
    if len(hosts) != args.NNODES:
        raise _wrong(
            text, f"it names {len(hosts)} {'host' if len(hosts) == 1 else 'hosts'}, and NNODES is {args.NNODES}"
        )
    for host in hosts:
        if host.slots not in (None, slots):
            raise ContextError(
                f"multi_node_args.HOST_LIST: found {host.name} with {host.slots} slots, but every node starts {slots} "
                f"ranks (NPROC_PER_NODE); allowed: {host.name}:{slots}, or another NPROC_PER_NODE"
            )
    _check_own(hosts[args.NODE_RANK], args.NODE_RANK, facts, resolved)


def own_entry(args: MultiNodeArgs) -> str:
    """The name of the entry that has to be this host; empty where there is none."""
    names = names_of(args)
    return dict(enumerate(names)).get(args.NODE_RANK, "")


def host_list_notes(args: MultiNodeArgs, launcher: str = "") -> list[str]:
    """A line where HOST_LIST was given and nothing reads it."""
    if not args.HOST_LIST or args.RUNNER in _HEEDED or launcher.startswith("sglang"):
        return []
    return [
        f"multi_node_args.HOST_LIST has no effect on RUNNER {args.RUNNER}: the nodes are those that join at MASTER_ADDR"
    ]


def launch_notes(args: MultiNodeArgs) -> list[str]:
    """A line where MPI_LAUNCH says ssh and no mpirun is started."""
    if args.MPI_LAUNCH == "agent" or args.RUNNER in _HEEDED:
        return []
    return [f"multi_node_args.MPI_LAUNCH has no effect on RUNNER {args.RUNNER}, which needs no way to the other nodes"]


def _parse(entry: str, text: str) -> Host:
    name, slots = entry, ""
    if entry.startswith("["):
        name, closed, rest = entry[1:].partition("]")
        colon, _, slots = rest.partition(":") if rest else ("", "", "")
        if not closed or colon or (rest and not slots) or not _is_ipv6(name):
            raise _wrong(text, f"{entry or 'an empty entry'} is no address in brackets")
    elif entry.count(":") > 1:
        raise _wrong(text, f"{entry} has several colons: an IPv6 address stands in brackets")
    elif ":" in entry:
        name, _, slots = entry.partition(":")
        if not slots:
            raise _wrong(text, f"{entry} has no number of slots behind its colon")
    if ":" not in name and not _NAME.fullmatch(name):
        raise _wrong(text, f"{entry or 'an empty entry'} is no host")
    if slots and (not _SLOTS.fullmatch(slots) or int(slots) == 0):
        raise _wrong(text, f"{entry} has slots that are no number from 1 on")
    return Host(name, int(slots) if slots else None)


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def _check_own(host: Host, rank: int, facts: HostFacts, resolved: tuple[str, ...]) -> None:
    here = [literal for interface in facts.interfaces for literal in interface.addresses]
    name = host.name.lower().rstrip(".")
    own = facts.hostname.lower().rstrip(".")
    # A short name and a full one may mean the same host; two full ones have to be equal.
    alike = name == own or (("." not in name or "." not in own) and name.split(".")[0] == own.split(".")[0])
    if (alike and not _is_address(name)) or {*resolved} & {*here} or any(_is_loopback(one) for one in resolved):
        return
    shown = [one for one in here if not _is_loopback(one) and not ipaddress.ip_address(one).is_link_local] or here
    known = f"means {', '.join(resolved)}" if resolved else "is a name that this host does not know"
    known = "is none of these" if _is_address(name) else known
    raise ContextError(
        f"multi_node_args.HOST_LIST: found {host.name} as the host of NODE_RANK {rank}, but this host is "
        f"{facts.hostname} ({', '.join(shown)}), and {host.name} {known}; "
        "allowed there: a name or an address of this host, or start here with the NODE_RANK of its entry"
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    return _is_address(text) and ipaddress.ip_address(text).is_loopback


def _wrong(text: str, what: str) -> ContextError:
    return ContextError(f"multi_node_args.HOST_LIST: found {text!r}: {what}; {_ALLOWED}")
