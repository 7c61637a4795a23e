"""One process on each node, started by python itself; the ranks are the nodes' ranks."""

from __future__ import annotations

from madrun.spec.topology import Starting, Topology


def command(_topology: Topology, starting: Starting) -> str:
    """`python3`: a run script puts this text in front of its training script."""
    return " ".join(("python3", *starting.args))


def env(topology: Topology, _starting: Starting) -> dict[str, str]:
    """What torch.distributed's `env://` reads; WORLD_SIZE is the number of nodes here."""
    return {
        "RANK": str(topology.node_rank),
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "WORLD_SIZE": str(topology.nnodes),
    }
