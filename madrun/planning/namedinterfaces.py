"""Interfaces that the user named for Gloo and NCCL, together with the one that is chosen: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from madrun.errors import ContextError
from madrun.planning.interfaces import (
    Choice,
    choose,
    holds,
    is_for_containers,
    is_loopback,
    joined_in,
    named,
    network_towards,
    with_network,
)
from madrun.spec.facts import Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What Gloo and NCCL are told, the network of Gloo's interface (CIDR), why, and what speaks against it."""

    gloo: str
    nccl: str
    network: str
    why: str
    doubts: tuple[str, ...]


def settle(gloo: str, nccl: str, ends: tuple[str, str], interfaces: tuple[Interface, ...], several: bool) -> Settled:
    """What was named, else what is chosen; `ends`: the master's address, and this host's on the route there.

    `ContextError` where something is to be chosen and cannot be.
    """
    master = ends[0]
    choice, why, doubts = None, "", []
    try:
        choice = choose(*ends, interfaces, several)
    except ContextError:
        if not (gloo and nccl):
            raise
    if choice is not None:
        why, doubts = choice.why, [] if gloo and nccl else list(choice.doubts)
    # NCCL takes a prefix unless the name starts with "="; Gloo takes one concrete name.
    tells = (gloo or choice.interface.name, nccl or f"={choice.interface.name}") if choice else (gloo, nccl)
    used = _used(*tells, interfaces)
    if (gloo or nccl) and several and not is_loopback(master):
        doubts += _named_doubts(used, choice, master)
    network = network_towards(used["Gloo"], master) if "Gloo" in used else ""
    return Settled(gloo=tells[0], nccl=tells[1], network=network, why=why, doubts=tuple(doubts))


def _used(gloo: str, nccl: str, interfaces: tuple[Interface, ...]) -> dict[str, Interface]:
    """The first interface of each; a name that this host lacks is told elsewhere."""
    known = {one.name: one for one in interfaces}
    names = {"Gloo": used_interfaces(gloo, "^", tuple(known)), "NCCL": _nccl_interfaces(nccl, tuple(known))}
    return {who: known[found[0]] for who, found in names.items() if found}


def _named_doubts(used: dict[str, Interface], choice: Choice | None, master: str) -> list[str]:
    ones = list(dict.fromkeys(used.values()))
    doubts = [
        f"{with_network(one, master)} is a bridge for containers of this host, and leads nowhere else"
        for one in ones
        if is_for_containers(one) and (choice is None or one is not choice.interface)
    ]
    apart = len(ones) == 2 and not _meet(*(network_towards(one, master) for one in ones))
    if apart:
        where = " and ".join(f"{who} over {with_network(one, master)}" for who, one in used.items())
        doubts.append(f"two networks: {where}")
    elif choice is not None:
        way = with_network(choice.interface, master)
        off = [one for one in ones if one is not choice.interface and not holds(network_towards(one, master), master)]
        doubts += [
            f"{with_network(one, master)} was named, but the way to MASTER_ADDR {master} is {way}" for one in off
        ]
    return doubts


def _meet(one: str, other: str) -> bool:
    """Whether two networks overlap; of what is not known nothing is said."""
    return not (one and other) or ip_network(one).overlaps(ip_network(other))


def interface_notes(gloo: str, nccl: str, interfaces: tuple[Interface, ...]) -> list[str]:
    """A line for each interface that was named and that this host lacks.

    No error: the plan of one node is also made on another host, to be read.
    """
    return _lacking(gloo, nccl, interfaces, {})


def interface_problems(gloo: str, nccl: str, interfaces: tuple[Interface, ...], states: Mapping[str, str]) -> list[str]:
    """What is wrong here with the interfaces that torch will be told: missing, without an address, down, or a part.

    `states`: `up`, `down`, or `without an address`, of every interface of the host.
    """
    lines = _lacking(gloo, nccl, interfaces, states)
    known = {one.name: one for one in interfaces}
    for name in used_interfaces(gloo, nccl, tuple(known)):
        whole = joined_in(known[name], interfaces)
        if states.get(name) == "down":
            lines.append(f"interface {name} of this host is down; ip link set {name} up")
        elif whole:
            kind = known[whole].kind
            lines.append(f"interface {name} of this host is a part of {kind} {whole}, which talks for it; give {whole}")
    return lines


def _lacking(gloo: str, nccl: str, interfaces: tuple[Interface, ...], states: Mapping[str, str]) -> list[str]:
    names = tuple(one.name for one in interfaces)
    missing = []
    if _nccl_words(nccl) and not _nccl_interfaces(nccl, names):
        missing.append(("NCCL_SOCKET_IFNAME", _nccl_words(nccl)))
    absent = [word for word in gloo.split(",") if word and word not in names]
    if absent:
        missing.append(("GLOO_SOCKET_IFNAME", absent))
    has = named(one for one in interfaces if not joined_in(one, interfaces))
    keys: dict[str, list[str]] = {}  # one name that is given twice is told once
    for key, words in missing:
        keys.setdefault(_told(key, words, names, states), []).append(key)
    return [
        f"{' and '.join(which)}: this host has no interface {words}; it has: {has}" for words, which in keys.items()
    ]


def _told(key: str, words: list[str], names: tuple[str, ...], states: Mapping[str, str]) -> str:
    """The names that are missing, with what is known of why."""
    texts = []
    for word in words:
        bare, why = word.lstrip("=^"), ""
        if bare in states and bare not in names:
            part = states[bare].partition(": ")[2]
            why = f" with an address (it is there, and has none{f': {part}' if part else ''})"
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
    """In the kernel's order, as NCCL goes through them: the order of the words does not matter to it."""
    exact = nccl.startswith("=")
    wanted = _nccl_words(nccl)
    return [name for name in names if any(name == word if exact else name.startswith(word) for word in wanted)]
