"""Which RDMA ports carry a job: hosts as sysfs shows them, read by the probe."""

import pytest
from rdma_tree import RdmaTree, eight_and_eight, mapped

from madrun.planning.dataplane import affinity, data_plane, describe, gid_index, rails_of
from madrun.probe.fabric import bridges_above, find_hcas
from madrun.spec.facts import Accelerator, Gpu, Interface


@pytest.fixture
def tree(tmp_path):
    return RdmaTree(tmp_path)


@pytest.fixture
def look(tree, make_facts):
    """Facts of the host; `gpus`: buses of the GPUs that the job gets, and by NUMA node where that is all."""

    def read(gpus=(), numa=(), interfaces=()):
        found = tuple(Gpu(index=index, bus=bus) for index, bus in enumerate(gpus))
        found += tuple(Gpu(index=index, numa=node) for index, node in enumerate(numa))
        return make_facts(
            hcas=find_hcas(tree.root),
            bridges=bridges_above(gpus, tree.root),
            accelerator=Accelerator(vendor="nvidia", gpus=found) if found else Accelerator(),
            interfaces=tuple(Interface(name=name, addresses=addresses) for name, addresses in interfaces),
        )

    return read


def left_out(facts):
    return dict(data_plane(facts).left_out)


def test_of_eight_adapters_beside_gpus_and_two_for_the_host_the_eight_carry_the_job(tree, look):
    plane = data_plane(facts := look(eight_and_eight(tree)))
    assert plane.names == tuple(f"mlx5_{index}:1" for index in range(8))
    assert left_out(facts) == {
        "mlx5_8:1": "roce, the faster ones are infiniband",
        "mlx5_9:1": "state DOWN, Disabled: it is switched off; ip link set eth1 up, or for InfiniBand: "
        "ibportstate -D 0 1 enable",
    }
    assert describe(plane).startswith("8 x InfiniBand, 400 Gb/s; left out: mlx5_8:1 (roce")


def test_a_job_with_some_of_the_gpus_uses_the_adapters_next_to_these(tree, look):
    buses = eight_and_eight(tree)
    facts = look(buses[4:6])
    assert data_plane(facts).names == ("mlx5_4:1", "mlx5_5:1")
    assert left_out(facts)["mlx5_0:1"] == "other adapters are nearer to every GPU of the job"


def test_each_gpu_is_shown_with_its_nearest_adapter_and_by_what_they_are_joined(tree, look):
    facts = look(eight_and_eight(tree))
    table = affinity(facts, data_plane(facts).rails)
    assert table == [(index, (f"mlx5_{index}:1",), "PCI switch") for index in range(8)]


def test_without_a_common_switch_the_numa_node_counts(tree, look):
    tree.infiniband("mlx5_0", "pci0000:17/0000:17:01.0/0000:18:00.0", numa=0)
    tree.infiniband("mlx5_1", "pci0000:97/0000:97:01.0/0000:98:00.0", numa=1)
    assert data_plane(look(numa=(1,))).names == ("mlx5_1:1",)
    assert data_plane(both := look(numa=(0, 1))).names == ("mlx5_0:1", "mlx5_1:1")
    assert [row[2] for row in affinity(both, data_plane(both).rails)] == ["NUMA node", "NUMA node"]


def test_a_common_root_of_the_pci_tree_is_nearer_than_a_common_numa_node(tree, look):
    gpu = tree.gpu("pci0000:17/0000:17:03.0/0000:20:00.0")
    tree.infiniband("mlx5_0", "pci0000:17/0000:17:01.0/0000:18:00.0")
    tree.infiniband("mlx5_1", "pci0000:27/0000:27:01.0/0000:28:00.0")
    facts = look([gpu])
    assert data_plane(facts).names == ("mlx5_0:1",)
    assert affinity(facts, rails_of(facts)) == [(0, ("mlx5_0:1",), "PCI root")]


def test_where_pci_joins_none_and_numa_is_not_known_no_adapter_is_left_out(tree, look):
    gpu = tree.gpu("pci0000:17/0000:17:03.0/0000:20:00.0")
    tree.infiniband("mlx5_0", "pci0000:27/0000:18:00.0")
    tree.infiniband("mlx5_1", "pci0000:37/0000:28:00.0")
    facts = look([gpu])
    assert data_plane(facts).names == ("mlx5_0:1", "mlx5_1:1")
    assert affinity(facts, data_plane(facts).rails) == []


def test_where_it_is_not_known_what_is_near_no_adapter_is_left_out(tree, look):
    tree.infiniband("mlx5_0", "pci0000:17/0000:18:00.0", numa=-1)
    tree.infiniband("mlx5_1", "pci0000:97/0000:98:00.0", numa=1)
    facts = look(numa=(1,))
    assert data_plane(facts).names == ("mlx5_0:1", "mlx5_1:1")
    assert affinity(facts, data_plane(facts).rails[:1]) == []


@pytest.mark.parametrize(
    ("state", "phys", "words"),
    [
        ("2: INIT", "5: LinkUp", "no subnet manager has set the port up; start one (opensm"),
        ("3: ARMED", "5: LinkUp", "the subnet manager is not done"),
        ("1: DOWN", "2: Polling", "state DOWN, Polling: no cable"),
        ("1: DOWN", "3: Disabled", "state DOWN, Disabled: it is switched off"),
        ("1: DOWN", "6: LinkErrorRecovery", "state DOWN, LinkErrorRecovery"),
        ("4: ACTIVE", "3: Disabled", "state ACTIVE, Disabled"),
        ("", "", "state not known"),
    ],
)
def test_a_port_that_is_not_up_is_left_out_with_what_to_do(tree, look, state, phys, words):
    tree.infiniband("mlx5_0", "pci0000:17/0000:18:00.0", state=state, phys=phys)
    plane = data_plane(look())
    assert plane.names == ()
    assert words in plane.left_out[0][1]
    assert describe(plane).startswith("no usable port; left out: mlx5_0:1 (")


def test_virtual_functions_are_left_out_beside_the_adapter_they_are_a_part_of(tree, look):
    tree.infiniband("mlx5_0", "pci0000:17/0000:18:00.0")
    tree.infiniband("mlx5_1", "pci0000:17/0000:18:00.1")
    tree.link("sys/devices/pci0000:17/0000:18:00.1/physfn", "sys/devices/pci0000:17/0000:18:00.0")
    assert left_out(look()) == {"mlx5_1:1": "a virtual function (SR-IOV) of mlx5_0"}
    tree.write("sys/class/infiniband/mlx5_0/ports/1/state", "1: DOWN")
    assert data_plane(look()).names == ("mlx5_1:1",)


def test_slower_ports_are_left_out_and_those_of_unknown_rate_too(tree, look):
    for index, rate in enumerate(("400 Gb/sec (4X NDR)", "200 Gb/sec (4X HDR)", "", "400 Gb/sec (4X NDR)")):
        tree.infiniband(f"mlx5_{index}", f"pci0000:17/0000:{index:02x}:00.0", rate=rate)
    plane = data_plane(look())
    assert plane.names == ("mlx5_0:1", "mlx5_3:1")
    assert plane.left_out == (
        ("mlx5_1:1", "200 Gb/s, others 400 Gb/s"),
        ("mlx5_2:1", "rate not known, others 400 Gb/s"),
    )


def test_the_hosts_own_interface_carries_the_job_only_where_there_is_no_other(tree, look):
    tree.roce("mlx5_0", "pci0000:17/0000:18:00.0", "eth0", "10.0.0.5")
    tree.default_route("eth0")
    assert data_plane(look()).names == ("mlx5_0:1",)
    tree.roce("mlx5_1", "pci0000:17/0000:19:00.0", "eth1", "10.0.1.5")
    assert left_out(look()) == {"mlx5_0:1": "eth0 has the default route: the host's own network"}


def test_iwarp_carries_nothing_for_nccl(tree, look):
    tree.hca("irdma0", "pci0000:17/0000:18:00.0", "ice", "0x8086", "0x1592", node_type="4: RNIC")
    tree.port("irdma0", layer="Ethernet")
    tree.hca("odd0", "pci0000:17/0000:19:00.0", "odd", "0x1", "0x1")
    tree.port("odd0", layer="")
    reasons = left_out(look())
    assert reasons["irdma0:1"].startswith("iWARP")
    assert reasons["odd0:1"] == "link layer not known"


@pytest.mark.parametrize(("driver", "index"), [("mlx5_core", 3), ("bnxt_en", 3), ("ionic", 1), ("ice", 1)])
def test_the_index_is_that_of_the_ipv4_address_of_roce_v2(tree, look, driver, index):
    for number in (0, 1):
        tree.roce(f"a{number}", f"pci0000:17/0000:1{number}:00.0", f"eth{number}", f"10.0.{number}.5", driver=driver)
    facts = look()
    assert gid_index(data_plane(facts), facts) == (index, "")


def gids(tree, name, *table):
    tree.hca(name, f"pci0000:17/0000:{int(name[-1]):02x}:00.0", "mlx5_core", "0x15b3", "0x1021")
    tree.port(name, layer="Ethernet", gids=[(index, mapped(address), kind, "eth1") for index, address, kind in table])


def test_of_several_addresses_the_interfaces_own_is_taken(tree, look):
    gids(tree, "mlx5_0", (2, "10.9.9.9", "RoCE v2"), (4, "10.0.0.5", "IB/RoCE v1"), (5, "10.0.0.5", "RoCE v2"))
    facts = look(interfaces=[("eth1", ("10.0.0.5",))])
    assert gid_index(data_plane(facts), facts) == (5, "")
    assert gid_index(data_plane(look()), look())[0] == 2


def test_ports_whose_indices_differ_get_none_and_the_note_says_which(tree, look):
    gids(tree, "mlx5_0", (3, "10.0.0.5", "RoCE v2"))
    gids(tree, "mlx5_1", (5, "10.0.1.5", "RoCE v2"))
    facts = look()
    index, note = gid_index(data_plane(facts), facts)
    assert index is None
    assert "differs between the ports (mlx5_0:1 3, mlx5_1:1 5)" in note


def test_link_local_addresses_are_taken_last_and_said_to_reach_no_further(tree, look):
    gids(tree, "mlx5_0", (1, "169.254.3.4", "RoCE v2"))
    facts = look()
    index, note = gid_index(data_plane(facts), facts)
    assert index == 1
    assert note.startswith("mlx5_0:1: link-local RoCE v2 addresses alone")
    gids(tree, "mlx5_1", (4, "10.0.0.5", "IB/RoCE v1"))
    facts = look()
    index, note = gid_index(data_plane(facts), facts)
    assert index is None
    assert note.startswith("mlx5_1:1: no RoCE v2 address")
