"""Who takes part: number of nodes, processes on each, and where they meet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """One node's view of the job; addresses are IP literals, names of interfaces are this node's.

    `address`: this node's own, on the way to node 0. `network`: the chosen interface's, as `10.0.0.0/24`. Both are
    empty where they are not known. `why`: what the interface was chosen by, and `doubts` what speaks against it.
    """

    nnodes: int
    node_rank: int
    nproc_per_node: int
    master_addr: str
    master_port: int
    control_port: int
    nccl_ifname: str
    gloo_ifname: str
    address: str = ""
    network: str = ""
    why: str = ""
    doubts: tuple[str, ...] = ()

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """How a runner is to start the ranks, beside who they are.

    `box`: where the node finds the directory of its run. `args`: the user's own words for the runner. `config`: the
    path of the runner's configuration file as the node sees it. `elastic`: `MIN:MAX` nodes, empty for a fixed number.
    `mpi_launch`: how mpirun reaches the other nodes, by madrun's `agent` or by `ssh`.
    """

    box: str
    vendor: str = "cpu"
    args: tuple[str, ...] = ()
    config: str = ""
    elastic: str = ""
    mpi_launch: str = "agent"
