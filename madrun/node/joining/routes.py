"""Who tries to reach whom before a run, and what is made of it: pure functions over what the nodes sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from madrun.node.channel.assembly import Payloads, Ruling
from madrun.node.joining.hostrules import offset_notes
from madrun.spec.record import Failure

ALL_UP_TO = 32  # nodes; with more, each tries its neighbours and node 0 alone
HOSTS_UP_TO = 64  # nodes; with more, only node 0 hears all addresses: for all it would grow with the square
_NEIGHBOURS = 4  # on each side
_TABLE_UP_TO, _MOST_LINES = 16, 8
_HINT = (
    "torch, Gloo and NCCL or RCCL connect on any port between these addresses: open the firewall for all TCP between "
    "the nodes, or choose the network with GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME"
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
    if failed:
        pair = min(failed)
        return Ruling(failure=Failure(kind="gate", text=_refusal(failed, payloads), node=pair[0]))
    hosts = [[found["hostname"], found.get("address") or ""] for _, found in sorted(payloads.items())]
    offsets = {rank: found.get("offset_s") for rank, found in payloads.items()}
    names = {rank: str(found["hostname"]) for rank, found in payloads.items()}
    data = {
        "hosts": hosts if all(address for _, address in hosts) else [],
        "offsets_s": {str(rank): at for rank, at in sorted(offsets.items())},
        "tried": sum(found.get("tried", 0) for found in payloads.values()),
        "unreachable": [],
        "notes": offset_notes(offsets, names),
    }
    if len(payloads) <= HOSTS_UP_TO:
        return Ruling(data=data)
    few = data | {"offsets_s": {}, "notes": []}
    own = {rank: [hosts[0], hosts[rank]] if data["hosts"] else [] for rank in payloads}
    return Ruling(each={rank: few | {"hosts": own[rank]} if rank else data for rank in payloads})


def _refusal(failed: dict[tuple[int, int], str], payloads: Payloads) -> str:
    tried = sum(found.get("tried", 0) for found in payloads.values())
    lines = [f"{len(failed)} of {tried} connections between the nodes do not come about"]
    pairs = sorted(failed)
    for source, to in pairs[:_MOST_LINES]:
        back = f"fails too ({failed[to, source]})" if (to, source) in failed else "works"
        lines.append(
            f"{_place(source, payloads)} -> {_place(to, payloads)}: {failed[source, to]}; the other way round {back}"
        )
    if len(pairs) > _MOST_LINES:
        lines.append(f"and {len(pairs) - _MOST_LINES} more")
    if 2 < len(payloads) <= _TABLE_UP_TO:
        lines += _table(failed, sorted(payloads))
    return "\n  ".join([*lines, _HINT])


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
