"""torchrun with static rendezvous, so that the node rank that was given is the node rank that is used.

The c10d rendezvous sorts nodes by address and ignores `--node-rank`.
"""

from __future__ import annotations

from madrun.spec.topology import Starting, Topology

STARTER = "PYTHON_EXEC"  # torchrun starts this with `-u script arguments`, where it would take its own interpreter
OWNS = (
    "--nnodes",
    "--nproc_per_node",
    "--node_rank",
    "--master_addr",
    "--master_port",
    "--standalone",
    "--rdzv_backend",
    "--rdzv_endpoint",
    "--rdzv_id",
)


def command(topology: Topology, starting: Starting) -> str:
    """Plain words only: the text survives unquoted expansion and `eval` alike."""
    words = [
        *("torchrun", "--nnodes", starting.elastic or topology.nnodes, "--node_rank", topology.node_rank),
        *("--nproc_per_node", topology.nproc_per_node),
        *("--master_addr", topology.master_addr, "--master_port", topology.master_port),
        *starting.args,
    ]
    return " ".join(map(str, words))
