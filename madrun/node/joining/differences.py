"""In what nodes differ, in words: the odd ones out are named, the many are counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from madrun.node.channel.assembly import ranges

_MOST_GROUPS = 4
_FEW = 3  # nodes that are named one by one


def spread(values: Mapping[int, Any], hosts: Mapping[int, str]) -> str:
    """`570 on 7 nodes (0-2, 4-7), 560 on node 3 (beta)`; empty where all nodes say the same."""
    return grouped(values, hosts) if len({_shown(value) for value in values.values()}) > 1 else ""


def grouped(values: Mapping[int, Any], hosts: Mapping[int, str]) -> str:
    """As `spread`; also where all nodes say the same: `570 on every node`."""
    groups: dict[str, list[int]] = {}
    for rank in sorted(values):
        groups.setdefault(_shown(values[rank]), []).append(rank)
    if len(groups) == 1 and len(values) > 1:
        return f"{next(iter(groups))} on every node"
    ordered = list(groups.items())
    if len(values) > 2:  # of two nodes neither is the odd one: then in order of rank
        ordered.sort(key=lambda item: (-len(item[1]), item[1][0]))
    texts = [f"{text} on {nodes(ranks, hosts)}" for text, ranks in ordered[:_MOST_GROUPS]]
    rest = [rank for _, ranks in ordered[_MOST_GROUPS:] for rank in ranks]
    return ", ".join([*texts, *([f"others on {nodes(rest, hosts)}"] if rest else [])])


def odd_one(values: Mapping[int, Any]) -> int:
    """The lowest rank of the smallest group; with two nodes the one that is not node 0."""
    groups: dict[str, list[int]] = {}
    for rank in sorted(values):
        groups.setdefault(_shown(values[rank]), []).append(rank)
    return min(groups.values(), key=lambda ranks: (len(ranks), -ranks[0]))[0]


def nodes(ranks: list[int], hosts: Mapping[int, str]) -> str:
    """`node 1 (beta)`, or `7 nodes (0-6)`. Node 0 of few is known without its host's name."""
    if len(ranks) > _FEW:
        return f"{len(ranks)} nodes ({ranges(ranks)})"
    return ", ".join(f"node {rank}" + (f" ({hosts[rank]})" if rank and hosts.get(rank) else "") for rank in ranks)


def _shown(value: Any) -> str:
    return "none" if value in ("", None, [], {}) else str(value)
