"""What the ranks talked over, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from madrun.spec.transport import Kind, NodeTransport
from madrun.units import format_size

_MOST_NAMES, _MOST_PARTS = 4, 8
_SHOWN = 1 << 20  # bytes: who carried less is not named
_NUMBERED = re.compile(r"(?P<stem>.*\D)(?P<number>\d{1,4})")
_GDR = {"yes": "GDR", "no": "no GDR", "partly": "GDR in part"}


def used(transport: NodeTransport, kind: Kind | None = None) -> str:
    """`NCCL 2.21.5 used NET/Socket on eth0`; of several networks those of the kind, with the ranks that used them."""
    networks = [network for network in transport.networks if kind in (None, network.kind)]
    several = len(transport.networks) > 1
    words = []
    for network in networks:
        ranks = f" (ranks {', '.join(map(str, network.ranks))})" if several and network.ranks else ""
        words.append(f"NET/{network.name}{_on(network.kind, transport)}{ranks}")
    return f"{_library(transport)} used {', '.join(words)}"


def line_of(nodes: Sequence[NodeTransport], nnodes: int) -> str:
    """One line for the whole run: library, network, adapters, channels, and bytes of the node that moved most."""
    said = [transport for transport in nodes if transport.networks or transport.version or transport.paths]
    parts = list(dict.fromkeys(_library(transport) for transport in said if transport.version))
    if nnodes > 1:
        parts += dict.fromkeys(
            f"NET/{network.name}{_on(network.kind, transport)}" for transport in said for network in transport.networks
        )
        parts += dict.fromkeys(_GDR[one.gdr] for one in said if one.gdr in _GDR and one.kinds == {"rdma"})
    else:
        parts += dict.fromkeys(path for transport in said for path in transport.paths)
    channels = max((transport.channels or 0 for transport in said), default=0)
    parts += [f"{channels} channels"] if channels else []
    few = [*parts[:_MOST_PARTS], *(["..."] if len(parts) > _MOST_PARTS else [])]
    return "; ".join(filter(None, (", ".join(few), _bytes(nodes))))


def adapters(names: Sequence[str]) -> str:
    """`mlx5_0..mlx5_7`, or the first names and how many more; ports and link layers are left out."""
    bare = list(dict.fromkeys(name.partition(":")[0] for name in names))
    found = [_NUMBERED.fullmatch(name) for name in bare]
    numbers = sorted(int(match["number"]) for match in found if match)
    stems = {match["stem"] for match in found if match}
    if len(bare) == len(numbers) > 2 and len(stems) == 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        (stem,) = stems
        return f"{stem}{numbers[0]}..{stem}{numbers[-1]}"
    more = len(bare) - _MOST_NAMES
    return ", ".join(bare[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _library(transport: NodeTransport) -> str:
    return f"{transport.library or 'NCCL'} {transport.version}".strip()


def _on(kind: Kind, transport: NodeTransport) -> str:
    names = transport.interfaces if kind == "sockets" else transport.hcas if kind == "rdma" else ()
    return f" on {adapters(names) if kind == 'rdma' else ', '.join(names[:_MOST_NAMES])}" if names else ""


def _bytes(nodes: Sequence[NodeTransport]) -> str:
    """The busiest names, of each the most that a node sent or received."""
    most: dict[str, int] = {}
    for transport in nodes:
        for name, moved in transport.bytes.items():
            most[name] = max(most.get(name, 0), moved.most)
    busy = sorted((name for name, size in most.items() if size >= _SHOWN), key=lambda name: -most[name])
    shown = [f"{name} {format_size(most[name])}" for name in busy[:_MOST_NAMES]]
    return ", ".join([*shown, *([f"{len(busy) - _MOST_NAMES} more"] if len(busy) > _MOST_NAMES else [])])
