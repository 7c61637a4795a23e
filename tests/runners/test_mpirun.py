"""mpirun of every family finds the nodes, and each node's network, in variables alone."""

import pytest

from madrun.probe.environment import process_env
from madrun.runners import RUNNERS, mpirun
from madrun.spec.topology import Starting

BOX = Starting(box="/madrun")


def test_the_command_is_plain_words_and_starts_every_rank_by_madrun_rank(make_topology):
    starting = Starting(box="/madrun", args=("--tag-output",))
    assert mpirun.command(make_topology(), starting) == "mpirun -np 4 --tag-output madrun-rank"


def test_every_family_is_told_the_hosts_and_the_way_to_them(make_topology):
    told = mpirun.settings(make_topology(), BOX)
    hosts = ("OMPI_MCA_orte_default_hostfile", "PRTE_MCA_prte_default_hostfile")
    assert {told[name] for name in hosts} == {"/madrun/mpi-hosts"}
    assert {told[name] for name in ("HYDRA_HOST_FILE", "I_MPI_HYDRA_HOST_FILE")} == {"/madrun/hydra-hosts"}
    ways = ("OMPI_MCA_plm_rsh_agent", "PRTE_MCA_plm_ssh_agent", "HYDRA_LAUNCHER_EXEC", "I_MPI_HYDRA_BOOTSTRAP_EXEC")
    assert {told[name] for name in ways} == {"madrun-launch"}


def test_a_cut_node_is_missed_within_seconds(make_topology):
    told = mpirun.settings(make_topology(), BOX)
    for family in ("OMPI", "PRTE"):
        time, every, probes = (
            int(told[f"{family}_MCA_oob_tcp_keepalive_{name}"]) for name in ("time", "intvl", "probes")
        )
        assert time + every * probes <= 15


@pytest.mark.parametrize(
    ("network", "included"),
    [("10.0.0.0/24", 2), ("127.0.0.0/8", 2), ("fd00::/64", 0), ("", 0)],
)
def test_open_mpi_gets_the_network_where_it_can_read_it(make_topology, network, included):
    told = mpirun.settings(make_topology(network=network), BOX)
    found = {name: value for name, value in told.items() if name.endswith("if_include")}
    assert (len(found), set(found.values())) == (included, {network} if included else set())
    assert "PRTE_MCA_prte_if_include" not in found  # no CIDR that it reads rightly


def test_open_mpi_gets_the_name_where_every_node_has_a_network_of_its_own(make_topology):
    told = mpirun.settings(make_topology(network="10.128.0.7/32", gloo_ifname="ens4"), BOX)
    assert {value for name, value in told.items() if name.endswith("if_include")} == {"ens4"}


def test_hydra_gets_one_interface_and_one_node_needs_no_network_at_all(make_topology):
    assert mpirun.settings(make_topology(gloo_ifname="eth0,eth1"), BOX)["HYDRA_IFACE"] == "eth0"
    alone = mpirun.settings(make_topology(nnodes=1, node_rank=0, network="10.0.0.0/24"), BOX)
    assert not [name for name in alone if "IFACE" in name or name.endswith("if_include")]


def test_ssh_is_asked_for_and_needs_its_programs_only_between_nodes(make_topology):
    by_ssh = Starting(box="/madrun", mpi_launch="ssh")
    assert mpirun.BY_SSH in mpirun.settings(make_topology(), by_ssh)
    assert mpirun.BY_SSH not in mpirun.settings(make_topology(), BOX)
    assert mpirun.BY_SSH not in mpirun.settings(make_topology(nnodes=1, node_rank=0), by_ssh)
    assert mpirun.ways("ssh", 2) == ("ssh", "sshd", "ssh-keygen")
    assert (mpirun.ways("ssh", 1), mpirun.ways("agent", 2)) == ((), ())


def test_madrun_rank_sets_the_ranks_and_not_the_plan(make_topology):
    assert RUNNERS["mpirun"].env(make_topology(), BOX) == {}
    assert RUNNERS["mpirun"].head


def test_nothing_of_an_outer_step_reaches_mpirun_on_the_host_itself():
    outer = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "PMI_RANK": "0", "PMIX_RANK": "0", "OMPI_COMM_WORLD_SIZE": "8"}
    assert set(process_env({**outer, "HOME": "/root", "PATH": "/bin"})) == {"HOME", "PATH"}
