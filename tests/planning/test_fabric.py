"""What is proposed for RDMA, what TRANSPORT sets, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdma_tree import RdmaTree, eight_and_eight

from madrun.errors import ContextError
from madrun.planning.fabric import fabric_problems, plan_fabric
from madrun.probe.fabric import bridges_above, find_hcas
from madrun.spec.fabric import Hca, HcaPort
from madrun.spec.facts import Accelerator, Gpu
from madrun.spec.plan import HostProcess

VERBS = ("/dev/infiniband/rdma_cm", "/dev/infiniband/uverbs0")
ALL = "=" + ",".join(f"mlx5_{index}:1" for index in range(8))


@pytest.fixture
def tree(tmp_path):
    return RdmaTree(tmp_path)


@pytest.fixture
def look(tree, make_facts):
    def read(gpus=()):
        found = tuple(Gpu(index=index, bus=bus) for index, bus in enumerate(gpus))
        return make_facts(
            hcas=find_hcas(tree.root),
            infiniband=VERBS,
            bridges=bridges_above(gpus, tree.root),
            accelerator=Accelerator(vendor="nvidia", gpus=found) if found else Accelerator(),
        )

    return read


@pytest.fixture
def plan(make_job):
    def made(facts, transport="rdma", said=None, devices=VERBS, **job):
        return plan_fabric(make_job(nnodes=2, transport=transport, **job), facts, said or {}, devices)

    return made


def roce(tree):
    for index in (0, 1):
        path = f"pci0000:17/0000:1{index}:00.0"
        tree.roce(f"mlx5_{index}", path, f"eth{index + 1}", f"10.0.{index}.5")


def test_auto_sets_nothing_and_proposes_with_reasons(tree, look, plan):
    fabric = plan(look(eight_and_eight(tree)), "auto")
    assert fabric.env == {}
    assert fabric.hcas == tuple(ALL[1:].split(","))
    assert fabric.notes[0].startswith(
        f"proposed: NCCL_IB_HCA={ALL} (TRANSPORT rdma sets this): 8 x InfiniBand, 400 Gb/s; left out: mlx5_8:1 (roce"
    )
    assert fabric.notes[1].startswith("adapters nearest to the GPUs: GPU 0 mlx5_0:1 (PCI switch), GPU 1")


def test_rdma_sets_the_ports_and_of_roce_the_index(tree, look, plan):
    assert plan(look(eight_and_eight(tree))).env == {"NCCL_IB_HCA": ALL}


def test_the_index_is_set_for_roce_alone_and_ucx_for_mpi_alone(tree, look, plan):
    roce(tree)
    names = "mlx5_0:1,mlx5_1:1"
    assert plan(look()).env == {"NCCL_IB_HCA": f"={names}", "NCCL_IB_GID_INDEX": "3"}
    assert plan(look(), runner="mpirun").env["UCX_NET_DEVICES"] == names


def test_what_the_user_set_stands_and_the_proposal_is_told(tree, look, plan):
    roce(tree)
    fabric = plan(look(), said={"NCCL_IB_HCA": "mlx5_1", "NCCL_IB_GID_INDEX": "3"})
    assert fabric.env == {}
    assert fabric.hcas == ("mlx5_1:1",)
    assert "proposed: NCCL_IB_HCA==mlx5_0:1,mlx5_1:1; mlx5_1 stands" in fabric.notes
    assert not any("NCCL_IB_GID_INDEX" in note for note in fabric.notes)


@pytest.mark.parametrize(
    ("transport", "said"),
    [
        ("rdma", {"NCCL_IB_DISABLE": "1"}),
        ("rdma", {"NCCL_NET": "Socket"}),
        ("sockets", {"NCCL_IB_DISABLE": "0"}),
        ("sockets", {"NCCL_NET": "IB"}),
    ],
)
def test_a_variable_that_says_the_opposite_is_refused(look, plan, transport, said):
    with pytest.raises(ContextError) as error:
        plan(look(), transport, said)
    name, value = next(iter(said.items()))
    assert f"multi_node_args.TRANSPORT: found {transport!r}, but {name} is set to {value!r}" in str(error.value)


@pytest.mark.parametrize("said", [{"NCCL_IB_DISABLE": "0"}, {"NCCL_NET": "ib"}, {"NCCL_IB_DISABLE": ""}])
def test_a_variable_that_says_the_same_is_not(tree, look, plan, said):
    roce(tree)
    assert "NCCL_IB_HCA" in plan(look(), said=said).env


def test_sockets_turns_rdma_off_and_says_so(tree, look, plan):
    roce(tree)
    fabric = plan(look(), "sockets")
    assert fabric.env == {"NCCL_IB_DISABLE": "1", "NCCL_NET": "Socket"}  # plugins hear the second alone
    assert fabric.notes == ("TRANSPORT sockets: NCCL_IB_DISABLE=1 NCCL_NET=Socket, no RDMA",)
    assert plan(look(), "sockets", {"NCCL_IB_DISABLE": "1", "NCCL_NET": "socket"}).env == {}


def test_efa_is_reached_by_a_plugin_and_by_no_variable_of_infiniband(tree, look, plan):
    tree.hca("rdmap1s0", "pci0000:17/0000:18:00.0", "efa", "0x1d0f", "0xefa2", node_type="7: unspecified")
    tree.port("rdmap1s0", layer="Unknown", rate="100 Gb/sec (4X EDR)")
    fabric = plan(look())
    assert (fabric.env, fabric.hcas) == ({}, ("rdmap1s0:1",))
    assert any("aws-ofi-nccl" in note for note in fabric.notes)
    assert plan(look(), "sockets").env == {"NCCL_IB_DISABLE": "1", "NCCL_NET": "Socket"}


def test_one_node_needs_no_network_and_is_told_so(tree, look, make_job):
    roce(tree)
    for transport in ("rdma", "sockets"):
        fabric = plan_fabric(make_job(nnodes=1, transport=transport), look(), {"NCCL_IB_DISABLE": "1"}, VERBS)
        assert (fabric.env, fabric.hcas) == ({}, ())
        assert fabric.notes == (f"TRANSPORT {transport} changes nothing: one node needs no network",)


def test_ranks_without_gpus_are_not_bothered_unless_mpi_starts_them(tree, look, plan):
    roce(tree)
    assert plan(look(), "auto").notes == ()
    assert plan(look(), "auto", runner="mpirun").notes[0].startswith("proposed: NCCL_IB_HCA==mlx5_0:1")
    assert any("Gloo uses sockets whatever it says" in note for note in plan(look()).notes)


def test_a_user_who_has_turned_rdma_off_gets_no_proposal(tree, look, plan):
    facts = look(eight_and_eight(tree))
    for said, devices, words in (
        ({"NCCL_NET": "Socket"}, VERBS, "NCCL_NET=Socket"),
        ({}, (), "docker_drop keeps /dev/infiniband from the ranks"),
    ):
        fabric = plan(facts, "auto", said, devices)
        assert (fabric.env, fabric.hcas) == ({}, ())
        assert fabric.notes[0].startswith(f"RDMA is off: {words}; this host has 8 x InfiniBand, 400 Gb/s")
    (note,) = plan(facts, "auto", {"NCCL_IB_DISABLE": "1"}).notes
    assert note.startswith("RDMA is off: NCCL_IB_DISABLE=1; this host has 8 x InfiniBand")


@pytest.fixture
def problems(make_job, make_node):
    """What stands against RDMA on this host when a run begins; `env` is that of the ranks."""

    def found(facts, env=None, transport="rdma", nnodes=2):
        process = HostProcess(command=("bash",), workdir="/w", env=env or {})
        node = replace(make_node(), container=None, process=process)
        return fabric_problems(make_job(nnodes=nnodes, transport=transport), node, facts)

    return found


def test_a_host_without_adapters_is_refused_by_name_of_what_to_load(look, problems, plan):
    (text,) = problems(look())
    assert "this host has no RDMA adapter" in text
    assert "mlx5_ib" in text
    assert problems(look(), transport="auto") == problems(look(), nnodes=1) == []
    assert text in plan(look()).notes  # a plan may be made to be read on another host


def test_a_host_whose_ports_are_all_down_is_refused_with_each_state(tree, look, problems):
    tree.infiniband("mlx5_0", "pci0000:17/0000:18:00.0", state="2: INIT")
    tree.infiniband("mlx5_1", "pci0000:17/0000:19:00.0", state="1: DOWN", phys="3: Disabled")
    (text,) = problems(look())
    assert "mlx5_0:1: state INIT: no subnet manager" in text
    assert "mlx5_1:1: state DOWN, Disabled" in text


def test_adapters_without_device_files_are_refused(tree, look, problems):
    roce(tree)
    assert problems(look()) == []
    (text,) = problems(replace(look(), infiniband=("/dev/infiniband/rdma_cm",)))
    assert "modprobe ib_uverbs" in text


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"NCCL_IB_HCA": "=mlx5_7"}, "NCCL_IB_HCA: found 'mlx5_7', which this host does not have; it has: mlx5_0:1"),
        ({"NCCL_IB_HCA": "=mlx5_0,bnxt_re0"}, "found 'bnxt_re0', which this host does not have"),
        ({"NCCL_IB_HCA": "=mlx5"}, "found 'mlx5', which"),
        ({"NCCL_IB_HCA": "mlx5_0:2"}, "found 'mlx5_0:2', which"),
        ({"NCCL_IB_HCA": "=mlx5_2:1"}, "found 'mlx5_2:1', whose port is not up: state DOWN, Polling"),
        ({"NCCL_IB_HCA": "^mlx5"}, "which leaves out every port that is up"),
        ({"NCCL_IB_GID_INDEX": "7"}, "NCCL_IB_GID_INDEX: found 7, which is not in use on mlx5_0:1"),
        ({"NCCL_IB_GID_INDEX": "2"}, "found 2, which is IB/RoCE v1 on mlx5_0:1; of RoCE v2 it has: 1 (fe80"),
    ],
)
def test_ports_and_addresses_that_this_host_lacks_are_refused(tree, look, problems, plan, said, words):
    roce(tree)
    tree.infiniband("mlx5_2", "pci0000:17/0000:20:00.0", state="1: DOWN", phys="2: Polling")
    found = problems(look(), said)
    assert words in found[0]
    assert found[0] in plan(look(), "auto", said, runner="mpirun").notes


@pytest.mark.parametrize("text", ["=mlx5_0", "mlx5", "=mlx5_0:1,mlx5_1:1", "^mlx5_0", "^=mlx5_0", ""])
def test_every_way_in_which_nccl_names_ports_is_understood(tree, look, problems, text):
    roce(tree)
    assert problems(look(), {"NCCL_IB_HCA": text}) == []


def test_ports_are_those_that_nccl_will_take(tree, look, plan):
    roce(tree)
    taken = {"^mlx5_0": ("mlx5_1:1",), "^=mlx5": ("mlx5_0:1", "mlx5_1:1"), "mlx5_0": ("mlx5_0:1",)}
    for text, names in taken.items():
        assert plan(look(), said={"NCCL_IB_HCA": text}).hcas == names


@given(st.text() | st.from_regex(r"\^?=?(mlx5_[01](:[0-2])?,?)*", fullmatch=True), st.text(max_size=3))
def test_no_words_of_the_user_break_the_plan_and_what_is_used_is_there_and_up(make_job, make_facts, hcas, index):
    ports = tuple(
        HcaPort(number=number, state=state, link_layer="Ethernet", rate=400)
        for number, state in ((1, "ACTIVE"), (2, "DOWN"))
    )
    facts = make_facts(hcas=tuple(Hca(name=f"mlx5_{number}", ports=ports) for number in (0, 1)), infiniband=VERBS)
    said = {"NCCL_IB_HCA": hcas, "NCCL_IB_GID_INDEX": index}
    found = plan_fabric(make_job(nnodes=2, transport="rdma"), facts, said, VERBS)
    assert set(found.hcas) <= {"mlx5_0:1", "mlx5_1:1"}
