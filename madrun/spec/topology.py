"""Who takes part: number of nodes, processes on each, and where they meet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """One node's view of the job; addresses are IP literals, names of interfaces are this node's."""

    nnodes: int
    node_rank: int
    nproc_per_node: int
    master_addr: str
    master_port: int
    control_port: int
    nccl_ifname: str
    gloo_ifname: str

    @property
    def world_size(self) -> int:
        """Processes of the whole job."""
        return self.nnodes * self.nproc_per_node


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Where the nodes of a run meet, and as whom this one would have come."""

    nnodes: int
    node_rank: int
    address: str
    port: int
    hostname: str
    cards: str
