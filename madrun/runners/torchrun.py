"""torchrun with static rendezvous, so that the node rank that was given is the node rank that is used.

The c10d rendezvous sorts nodes by address and ignores `--node-rank`; it is used where an elastic number of nodes was
asked for, which the static one refuses. Which options belong to which: torch/distributed/run.py.
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
    meeting = _elastic(topology, starting.elastic) if starting.elastic else _static(topology)
    return " ".join(map(str, ("torchrun", *meeting, *starting.args)))


def _static(topology: Topology) -> tuple[object, ...]:
    return (
        *("--nnodes", topology.nnodes, "--node_rank", topology.node_rank),
        *("--nproc_per_node", topology.nproc_per_node),
        *("--master_addr", topology.master_addr, "--master_port", topology.master_port),
    )


def _elastic(topology: Topology, elastic: str) -> tuple[object, ...]:
    address = f"[{topology.master_addr}]" if ":" in topology.master_addr else topology.master_addr
    return (
        *("--nnodes", elastic, "--nproc_per_node", topology.nproc_per_node),
        *("--rdzv_backend", "c10d", "--rdzv_id", "madrun"),
        *("--rdzv_endpoint", f"{address}:{topology.master_port}"),
        # Else each node guesses from names and addresses whether the store is to be its own.
        *("--rdzv_conf", f"is_host={'false' if topology.node_rank else 'true'}"),
        *_own_address(topology),
    )


def _own_address(topology: Topology) -> tuple[object, ...]:
    """c10d tells nodes apart by this and a process id, which is the same in many containers.

    Else it takes the host's full name. Every address of 127/8 is the host itself, and each node there gets its own.
    """
    own = f"127.0.0.{topology.node_rank % 254 + 1}" if topology.address.startswith("127.") else topology.address
    return ("--local_addr", own) if own else ()
