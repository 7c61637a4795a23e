"""What the nodes are called in front of mpirun.

Node 0 is `localhost`, so that its ranks are started in its own box. The others have names that nothing resolves: where
two nodes are on one host, or one host has two names, mpirun would take their real ones for its own.
"""

from __future__ import annotations

from madrun.runners.mpirun import HOSTFILE, HYDRA_HOSTFILE
from madrun.spec.plan import JobPlan
from madrun.spec.record import Gate


def name_of(rank: int) -> str:
    """The node's name; no underscore, at which orted of Open MPI 4 dies."""
    return f"madrun-node-{rank}" if rank else "localhost"


def hostfiles(job: JobPlan) -> dict[str, str]:
    """Names and texts of the hostfiles, for Open MPI and for Hydra."""
    names, slots = [name_of(rank) for rank in range(job.nnodes)], job.nproc_per_node
    return {
        HOSTFILE: "".join(f"{name} slots={slots}\n" for name in names),
        HYDRA_HOSTFILE: "".join(f"{name}:{slots}\n" for name in names),
    }


def ranks_by_name(nnodes: int, gate: Gate | None, listed: tuple[str, ...] = ()) -> dict[str, int]:
    """The rank of the node that a name or an address means, for those that mean one node alone.

    `listed`: the names of HOST_LIST, in order of rank.
    """
    found = {name_of(rank): rank for rank in range(nnodes)}
    hosts = gate.hosts if gate is not None else ()
    words = [word for host in hosts for word in host]
    for rank, host in enumerate(hosts):
        found |= {word: rank for word in host if words.count(word) == 1}
    return dict(zip(listed, range(nnodes), strict=False)) | found
