"""mpirun of Open MPI 4 and 5, MPICH and Intel MPI: started once, on node 0, for the ranks of all nodes.

Which of them an image has is known only there. Each reads variables of its own, so all are set: OMPI_MCA_* is read by
Open MPI up to 4, PRTE_MCA_* by Open MPI 5 (PRRTE), HYDRA_* by MPICH, I_MPI_* by Intel MPI. The other nodes are reached
by `madrun-launch`, which asks the agents, or starts ssh with a key of this run; every rank is started by `madrun-rank`,
which sets what torch reads. Sources: `ompi_info --all` of 4.1.4; the parameters that PRRTE 3.0.14 of Open MPI 5.0.11
registers; "Using the Hydra Process Manager" and the strings of MPICH 4.0.2; Intel MPI Library Developer Reference,
"Hydra Environment Variables".
"""

from __future__ import annotations

import ipaddress

from madrun.spec.topology import Starting, Topology

PROGRAMS = ("mpirun",)
SSH_PROGRAMS = ("ssh", "sshd", "ssh-keygen")
LAUNCH, START_RANK, SSHD = "madrun-launch", "madrun-rank", "madrun-sshd"
BY_SSH = "MADRUN_MPI_SSH"
HOSTFILE, HYDRA_HOSTFILE = "mpi-hosts", "hydra-hosts"
OWNS = ("-np", "-n", "--np", "-c", "-host", "--host", "-H", "-hosts", "-hostfile", "--hostfile", "-machinefile", "-f")
# A cut node is missed KEEPALIVE_S + PROBES x INTERVAL_S after its last word, the defaults being 300, 9 and 20 (oob_tcp
# parameters): sooner than PROBES x INTERVAL_S never, so that the agents miss it first (SILENCE_S) and name it.
KEEPALIVE_S, INTERVAL_S, PROBES = 5, 2, 5


def command(topology: Topology, starting: Starting) -> str:
    """Plain words only; hosts and the way to them stand in variables."""
    return " ".join(("mpirun", "-np", str(topology.world_size), *starting.args, START_RANK))


def env(topology: Topology, _starting: Starting) -> dict[str, str]:
    """Nothing: madrun-rank sets RANK, LOCAL_RANK and the sizes for each rank."""
    return {}


def settings(topology: Topology, starting: Starting) -> dict[str, str]:
    """What the families of MPI read; of these docker_env_vars may say something else."""
    found = _open_mpi(f"{starting.box}/{HOSTFILE}") | _hydra(f"{starting.box}/{HYDRA_HOSTFILE}")
    if starting.mpi_launch == "ssh" and topology.nnodes > 1:
        found[BY_SSH] = "1"
    return found | _networks(topology)


def ways(mpi_launch: str, nnodes: int) -> tuple[str, ...]:
    """What has to be on the PATH of every node beside mpirun, to reach the others in this way."""
    return SSH_PROGRAMS if mpi_launch == "ssh" and nnodes > 1 else ()


def _open_mpi(hosts: str) -> dict[str, str]:
    found = {
        "OMPI_MCA_orte_default_hostfile": hosts,
        "PRTE_MCA_prte_default_hostfile": hosts,
        "OMPI_MCA_hwloc_base_binding_policy": "none",
        "PRTE_MCA_hwloc_default_binding_policy": "none",
        "OMPI_MCA_rmaps_base_mapping_policy": "slot",
        "PRTE_MCA_rmaps_default_mapping_policy": "slot",
        # Without these a job script's own allocation (SLURM) would choose another way to the nodes.
        "OMPI_MCA_plm": "rsh",
        "PRTE_MCA_plm": "ssh",
        "OMPI_MCA_plm_rsh_agent": LAUNCH,
        "PRTE_MCA_plm_ssh_agent": LAUNCH,
        # Tree spawn would have every node reach every other.
        "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
        "PRTE_MCA_plm_ssh_no_tree_spawn": "1",
    }
    root = (f"{family}_ALLOW_RUN_AS_ROOT{more}" for family in ("OMPI", "PRTE") for more in ("", "_CONFIRM"))
    keepalive = {"time": KEEPALIVE_S, "intvl": INTERVAL_S, "probes": PROBES}
    alive = {
        f"{family}_MCA_oob_tcp_keepalive_{name}": str(value)
        for family in ("OMPI", "PRTE")
        for name, value in keepalive.items()
    }
    return found | dict.fromkeys(root, "1") | alive


def _hydra(hosts: str) -> dict[str, str]:
    return {
        "HYDRA_HOST_FILE": hosts,
        "HYDRA_LAUNCHER": "ssh",
        "HYDRA_LAUNCHER_EXEC": LAUNCH,
        # Each node has variables of its own, and what the script exports goes the way of madrun-launch.
        "HYDRA_ENV": "none",
        "I_MPI_HYDRA_HOST_FILE": hosts,
        "I_MPI_HYDRA_BOOTSTRAP": "ssh",
        "I_MPI_HYDRA_BOOTSTRAP_EXEC": LAUNCH,
        "I_MPI_HYDRA_BRANCH_COUNT": "0",
        "I_MPI_PIN": "off",
    }


def _networks(topology: Topology) -> dict[str, str]:
    """Which network MPI itself is to use, as CIDR, and for Hydra as an interface."""
    if topology.nnodes == 1:
        return {}
    name = topology.gloo_ifname.partition(",")[0]
    found = dict.fromkeys(("HYDRA_IFACE", "I_MPI_HYDRA_IFACE"), name)
    network = ipaddress.ip_network(topology.network, strict=False) if topology.network else None
    # Open MPI reads IPv4 alone as CIDR, and names would be node 0's everywhere. PRRTE 3.0.14 finds no interface for
    # 192.0.2.0/24 or any /20, and none at all for loopback: its daemons try all the interfaces that they have.
    if network is not None and network.version == 4:
        names = ("OMPI_MCA_oob_tcp_if_include", "OMPI_MCA_btl_tcp_if_include")
        # A network of one address, as clouds give, is none of the other nodes': there only the name is left.
        found |= dict.fromkeys(names, topology.network if network.num_addresses > 1 else name)
    return found
