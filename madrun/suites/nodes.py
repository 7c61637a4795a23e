"""On which nodes a case is run: bad ones are avoided as long as enough others are left."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from madrun.spec.record import Record

# Failures that are of a node and not of what ran on it: it was lost, could not begin, or was refused at the gate.
OF_A_NODE = frozenset({"node lost", "node", "gate", "set-up", "engine", "gpu-lost"})


def culprit_of(record: Record, hosts: tuple[str, ...]) -> tuple[str, str] | None:
    """The node at fault and why, where the run failed for a node; None for every other end.

    `hosts`: names by rank, as the backend knows them; where it was told none, the node's own name, short.
    """
    culprit = record.culprit
    if culprit is None or culprit.kind not in OF_A_NODE:
        return None
    name = hosts[culprit.node] if culprit.node < len(hosts) else _own_name(record, culprit.node)
    return (name, f"{culprit.kind}: {culprit.text.partition(chr(10))[0]}") if name else None


def _own_name(record: Record, rank: int) -> str:
    told = next((outcome.hostname for outcome in record.nodes if outcome.node == rank), "")
    if not told and record.gate is not None and rank < len(record.gate.hosts):
        told = record.gate.hosts[rank][0]
    return told.partition(".")[0]


def choose(hosts: Iterable[str], bad: Collection[str], wanted: int) -> tuple[str, ...]:
    """The first hosts that are not bad; where these are too few, bad ones behind them. Fewer only where there are."""
    every = tuple(hosts)
    good = [host for host in every if host not in bad]
    return tuple([*good, *(host for host in every if host in bad)][:wanted])


def avoidable(bad: Collection[str], wanted: int, available: int | None) -> tuple[str, ...]:
    """The bad nodes that a scheduler may be told to leave out, newest first where they cannot all be.

    `available`: how many nodes there are in all; None where nobody knows, so that all of them can be left out.
    """
    names = tuple(bad)
    if available is None:
        return names
    room = max(0, available - wanted)
    return names[-room:] if room else ()
