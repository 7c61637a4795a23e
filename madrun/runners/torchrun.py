"""torchrun with static rendezvous, so that the node rank that was given is the node rank that is used.

The c10d rendezvous sorts nodes by address and ignores `--node-rank`.
"""

from __future__ import annotations

from madrun.spec.topology import Topology

STARTER = "PYTHON_EXEC"  # torchrun starts this with `-u script arguments`, where it would take its own interpreter


def command(topology: Topology) -> str:
    """Plain words only: the text survives unquoted expansion and `eval` alike."""
    return (
        f"torchrun --nnodes {topology.nnodes} --node_rank {topology.node_rank}"
        f" --nproc_per_node {topology.nproc_per_node}"
        f" --master_addr {topology.master_addr} --master_port {topology.master_port}"
    )


def env(_topology: Topology) -> dict[str, str]:
    """Nothing: torchrun sets RANK, LOCAL_RANK and the sizes itself."""
    return {}
