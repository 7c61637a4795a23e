"""mpirun of Open MPI 4 and 5, MPICH and Intel MPI: started once, on node 0, for the ranks of all nodes.

Which of them an image has is known only there. Each reads variables of its own, so all are set: OMPI_MCA_* is read by
Open MPI up to 4, PRTE_MCA_* by Open MPI 5 (PRRTE), HYDRA_* by MPICH and Intel MPI. The other nodes are reached by
`madrun-launch`, which asks the agents, and not by ssh; every rank is started by `madrun-rank`, which sets what torch
reads. Sources: docs.open-mpi.org (mca parameters, ssh launcher), docs.prrte.org, "Using the Hydra Process Manager".
"""

from __future__ import annotations

from madrun.spec.topology import Starting, Topology

PROGRAMS = ("mpirun",)
LAUNCH, START_RANK = "madrun-launch", "madrun-rank"
HOSTFILE, HYDRA_HOSTFILE = "mpi-hosts", "hydra-hosts"
OWNS = ("-np", "-n", "--np", "-c", "-host", "--host", "-H", "-hosts", "-hostfile", "--hostfile", "-machinefile", "-f")
# A cut node is missed after KEEPALIVE_S + PROBES x INTERVAL_S; the defaults are 300, 9 and 20 (oob_tcp parameters).
KEEPALIVE_S, INTERVAL_S, PROBES = 5, 2, 3


def command(topology: Topology, starting: Starting) -> str:
    """Plain words only; hosts and the way to them stand in variables."""
    return " ".join(("mpirun", "-np", str(topology.world_size), *starting.args, START_RANK))


def env(topology: Topology, _starting: Starting) -> dict[str, str]:
    """Nothing: madrun-rank sets RANK, LOCAL_RANK and the sizes for each rank."""
    return {}


def settings(topology: Topology, starting: Starting) -> dict[str, str]:
    """What the families of MPI read; of these docker_env_vars may say something else."""
    hosts = f"{starting.box}/{HOSTFILE}"
    root = dict.fromkeys(
        (f"{family}_ALLOW_RUN_AS_ROOT{more}" for family in ("OMPI", "PRTE") for more in ("", "_CONFIRM")), "1"
    )
    found = {
        **root,
        "OMPI_MCA_orte_default_hostfile": hosts,
        "PRTE_MCA_prte_default_hostfile": hosts,
        "HYDRA_HOST_FILE": f"{starting.box}/{HYDRA_HOSTFILE}",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        "OMPI_MCA_rmaps_base_mapping_policy": "slot",
        "PRTE_MCA_rmaps_default_mapping_policy": "slot",
        # Without these a job script's own allocation (SLURM) would choose another way to the nodes.
        "OMPI_MCA_plm": "rsh",
        "PRTE_MCA_plm": "ssh",
        "OMPI_MCA_plm_rsh_agent": LAUNCH,
        "PRTE_MCA_plm_ssh_agent": LAUNCH,
        "HYDRA_LAUNCHER": "ssh",
        "HYDRA_LAUNCHER_EXEC": LAUNCH,
        # Tree spawn would have every node reach every other.
        "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
        "PRTE_MCA_plm_ssh_no_tree_spawn": "1",
    }
    keepalive = {"time": KEEPALIVE_S, "intvl": INTERVAL_S, "probes": PROBES}
    for name, value in keepalive.items():
        found |= {f"{family}_MCA_oob_tcp_keepalive_{name}": str(value) for family in ("OMPI", "PRTE")}
    return found | _networks(topology)


def _networks(topology: Topology) -> dict[str, str]:
    """Which network MPI itself is to use, as CIDR, and for Hydra as an interface."""
    if topology.nnodes == 1:
        return {}
    found = {"HYDRA_IFACE": topology.gloo_ifname}
    if topology.network:
        names = ("OMPI_MCA_oob_tcp_if_include", "OMPI_MCA_btl_tcp_if_include", "PRTE_MCA_prte_if_include")
        found |= dict.fromkeys((*names, "PMIX_MCA_ptl_tcp_if_include"), topology.network)
    return found
