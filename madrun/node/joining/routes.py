"""Who tries to reach whom before a run, and what is made of it: pure functions over what the nodes sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from madrun.node.channel.assembly import Payloads, Ruling
from madrun.spec.record import Failure

ALL_UP_TO = 32  # nodes; with more, each tries its neighbours and node 0 alone
HOSTS_UP_TO = 64  # nodes; with more, only node 0 hears all addresses: for all it would grow with the square
_NEIGHBOURS = 4  # on each side
_TABLE_UP_TO, _MOST_LINES = 16, 8
_HINT = (
    "torch, Gloo and NCCL or RCCL connect on any port between these addresses: open the firewall for all TCP between "
    "the nodes, or choose the network with GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME; where it opens the ports of "
    "the job and no others, 'check_reach': False in the context of node 0 makes this a note"
)


def assign(payloads: Payloads, notes: list[str]) -> dict[int, Any]:
    """For each node whom it is to try: rank, endpoints and nonce; node 0 gets the notes so far too."""
    at = {rank: (payload.get("offer") or {}).get("at") for rank, payload in payloads.items()}
    nonces = {rank: (payload.get("offer") or {}).get("nonce") for rank, payload in payloads.items()}
    return {
        rank: {
            "peers": [[to, at[to], nonces[to]] for to in _targets(rank, len(payloads)) if at.get(to)],
            "notes": [] if rank else notes,
        }
        for rank in payloads
    }


def _targets(rank: int, nnodes: int) -> Iterable[int]:
    if nnodes <= ALL_UP_TO:
        return (to for to in range(nnodes) if to != rank)
    ring = {(rank + step) % nnodes for step in range(-_NEIGHBOURS, _NEIGHBOURS + 1)}
    return sorted((ring | {0}) - {rank})


def judge(payloads: Payloads) -> Ruling:
    """Every pair that was tried is connected; else who does not reach whom. Released is what the record says of it."""
    failed = {(rank, int(to)): str(why) for rank, found in payloads.items() for to, why in found.get("failed") or ()}
    if failed and payloads[0].get("check_reach", True):
        pair = min(failed)
        return Ruling(failure=Failure(kind="gate", text=_refusal(failed, payloads), node=pair[0]))
    hosts = [[found["hostname"], found.get("address") or ""] for _, found in sorted(payloads.items())]
    from madrun.node.joining.hostrules import offset_notes

    offsets = {rank: found.get("offset_s") for rank, found in payloads.items()}
    names = {rank: str(found["hostname"]) for rank, found in payloads.items()}
    data = {
        "hosts": hosts if all(address for _, address in hosts) else [],
        "offsets_s": {str(rank): at for rank, at in sorted(offsets.items())},
        "tried": sum(found.get("tried", 0) for found in payloads.values()),
        "unreachable": [list(pair) for pair in sorted(failed)],
        "notes": [*(["; ".join(_lines(failed, payloads))] if failed else []), *offset_notes(offsets, names)],
    }
    if len(payloads) <= HOSTS_UP_TO:
        return Ruling(data=data)
    few = data | {"offsets_s": {}, "notes": []}
    own = {rank: [hosts[0], hosts[rank]] if data["hosts"] else [] for rank in payloads}
    return Ruling(each={rank: few | {"hosts": own[rank]} if rank else data for rank in payloads})


def _refusal(failed: dict[tuple[int, int], str], payloads: Payloads) -> str:
    table = _table(failed, sorted(payloads)) if 2 < len(payloads) <= _TABLE_UP_TO else []
    return "\n  ".join([*_lines(failed, payloads), *table, _HINT])


def _lines(failed: dict[tuple[int, int], str], payloads: Payloads) -> list[str]:
    """How many connections fail, and the first of them."""
    tried = sum(found.get("tried", 0) for found in payloads.values())
    pairs = [pair for pair in sorted(failed) if pair[0] < pair[1] or pair[::-1] not in failed]
    more = [f"and {len(pairs) - _MOST_LINES} more"] if len(pairs) > _MOST_LINES else []
    return [
        f"{len(failed)} of {tried} connections between the nodes do not come about",
        *(_pair(source, to, failed, payloads) for source, to in pairs[:_MOST_LINES]),
        *more,
    ]


def _pair(source: int, to: int, failed: dict[tuple[int, int], str], payloads: Payloads) -> str:
    """One line for two nodes, whether one way or both fail."""
    one, other, why, back = _place(source, payloads), _place(to, payloads), failed[source, to], failed.get((to, source))
    if back is None:
        return f"{one} -> {other}: {why}; the other way round works"
    return f"{one} <-> {other}, both ways: {why}" + (f"; {back}" if back != why else "")


def _place(rank: int, payloads: Payloads) -> str:
    found = payloads.get(rank, {})
    at = " ".join(filter(None, (found.get("interface"), found.get("address"))))
    return f"node {rank} ({found.get('hostname', '?')}, {at or 'no address'})"


def _table(failed: dict[tuple[int, int], str], ranks: list[int]) -> list[str]:
    """Rows reach columns: `+` yes, `x` no."""
    head = "from\\to " + " ".join(f"{rank:>2}" for rank in ranks)
    rows = []
    for source in ranks:
        marks = ("-" if source == to else "x" if (source, to) in failed else "+" for to in ranks)
        rows.append(f"{source:>7} " + " ".join(f"{mark:>2}" for mark in marks))
    return [head, *rows]
