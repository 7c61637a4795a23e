"""The container of a node: devices, limits, and what the user has it do without."""

import pytest

from madrun.planning.container import plan_container
from madrun.planning.devices import Chosen
from madrun.spec.context import Context
from madrun.spec.facts import Accelerator, Engine, Gpu
from madrun.spec.plan import ImagePlan

LIMITED = {"name": "docker", "version": "27", "memlock": 8 << 20, "nofile": 524288}
MI300X = Accelerator(
    vendor="amd",
    gpus=(Gpu(index=0, device="/dev/dri/renderD128"), Gpu(index=1, device="/dev/dri/renderD136")),
    control=("/dev/kfd",),
    groups=("44", "109"),
)
H200 = Accelerator(vendor="nvidia", gpus=(Gpu(index=0, device="/dev/nvidia0"),), control=("/dev/nvidiactl",))
FABRIC = ("/dev/infiniband/rdma_cm", "/dev/infiniband/uverbs0")


@pytest.fixture
def planned(make_job, make_facts, make_topology):
    def plan(context=None, accelerator=None, engine=None, nnodes=2, infiniband=(), runtime="docker"):
        engine = engine or Engine(name=runtime, version="27")
        facts = make_facts(engine=engine, accelerator=accelerator or Accelerator(), infiniband=infiniband)
        job = make_job(runtime=runtime, image=ImagePlan(kind="ready", name="img:1"))
        topology = make_topology(nnodes=nnodes)
        return plan_container(job, context or Context(), Chosen(facts=facts), topology, ({"A": "1"}, ()))

    return plan


def test_amd_devices_and_their_groups_are_named(planned):
    container, notes = planned(accelerator=MI300X)
    assert (container.gpus, container.cdi) == ("", ())
    assert container.devices == ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD136")
    assert (container.groups, container.cap_add) == (("44", "109"), ("SYS_PTRACE",))
    assert container.security_opt == ("seccomp=unconfined",)
    assert notes == ()


def test_nvidia_devices_come_through_the_toolkit_with_a_deep_stack(planned):
    container, _ = planned(accelerator=H200)
    assert (container.gpus, container.devices, container.cap_add, container.groups) == ("all", (), (), ())
    assert container.ulimits == {"stack": 64 << 20, "memlock": -1, "nofile": 1048576}


def test_the_driver_is_told_which_device_files_to_find(planned):
    assert planned(accelerator=H200)[0].env["MADRUN_DEVICES"] == "/dev/nvidiactl /dev/nvidia0"
    assert planned()[0].env == {"A": "1"}


def test_rdma_devices_come_with_more_than_one_node(planned):
    container, _ = planned(infiniband=FABRIC)
    assert container.devices == FABRIC
    assert container.env["MADRUN_DEVICES"] == " ".join(FABRIC)
    assert planned(infiniband=FABRIC, nnodes=1)[0].devices == ()


def test_what_the_user_drops_is_left_out_and_named(planned):
    drop = Context(docker_drop=("groups", "SYS_PTRACE", "seccomp", "memlock", "nofile", "infiniband"))
    container, notes = planned(drop, accelerator=MI300X, infiniband=FABRIC)
    assert (container.groups, container.cap_add, container.security_opt) == ((), (), ())
    assert container.devices == ("/dev/kfd", "/dev/dri/renderD128", "/dev/dri/renderD136")
    assert "infiniband" not in container.env["MADRUN_DEVICES"]
    assert container.ulimits == {}
    assert notes == ("docker_drop: left out as asked: groups, SYS_PTRACE, seccomp, memlock, nofile, infiniband",)


def test_the_client_of_the_printed_line_is_that_of_the_runtime(planned):
    assert planned()[0].program == "docker"
    assert planned(runtime="podman")[0].program == "podman"


def test_podman_may_read_mounts_that_have_no_label_of_a_container(planned):
    assert planned(runtime="podman")[0].security_opt == ("label=disable",)
    assert planned()[0].security_opt == ()


def test_limits_are_asked_for(planned):
    container, notes = planned()
    assert container.ulimits == {"memlock": -1, "nofile": 1048576}
    assert notes == ()
    assert planned(Context(memlock="default", nofile=None))[0].ulimits == {}


def test_limits_that_the_engine_may_not_raise_are_left_out_and_named(planned):
    container, notes = planned(engine=Engine(can_raise_limits=False, **LIMITED))
    assert container.ulimits == {}
    assert len(notes) == 2
    assert "memlock unlimited left out" in notes[0]
    assert "8 MiB" in notes[0]
    assert "nofile 1048576 left out" in notes[1]
    assert "524288" in notes[1]


def test_limits_below_the_engines_own_stay(planned):
    container, _ = planned(Context(nofile=4096), engine=Engine(can_raise_limits=False, **LIMITED))
    assert container.ulimits == {"nofile": 4096}
    assert planned(engine=Engine(can_raise_limits=True, **LIMITED))[1] == ()


def test_half_of_the_memory_is_shared_memory_unless_given(planned):
    assert planned()[0].shm_size == 4 << 30
    assert planned(Context(shm_size="16g", ipc="host"))[0].shm_size == 16 << 30
    assert planned(Context(ipc="host"))[0].ipc == "host"


def test_containers_of_several_nodes_get_the_names_of_all_unless_they_are_dropped(planned):
    assert planned()[0].hosts == ("{hosts}",)
    assert planned(nnodes=1)[0].hosts == ()
    assert planned(Context(docker_drop=("hosts",)))[0].hosts == ()
