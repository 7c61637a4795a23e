"""The node part of a plan: ranks, addresses, and the exact container or process."""

from dataclasses import replace

import pytest

from madrun.errors import ContextError
from madrun.planning.devices import Chosen
from madrun.planning.job import CardFacts
from madrun.planning.node import plan_node
from madrun.planning.runnerfile import RunnerFile
from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.data import Fetch, Source
from madrun.spec.fabric import Hca, HcaPort
from madrun.spec.facts import Accelerator, Engine
from madrun.spec.plan import DataPlan, ImagePlan, Mount

CARD = Card(name="one", folder="/r/models/one", repository="/r", source="s", script="run.sh", files=("../x.py",))
CORPUS = Source(name="corpus", provider="local", path="/nfs/corpus")
FILES = CardFacts(script_hash="h", files=("run.sh",), data=(CORPUS,))
DATA = (DataPlan(name="corpus", provider="local", home="/data_dlm_0"),)


@pytest.fixture
def docker_plan(make_job, make_facts, make_topology):
    def plan(context=None, engine=None, accelerator=None, topology=None, files=FILES, **job):
        engine = engine or Engine(name="docker", version="27")
        facts = make_facts(engine=engine, accelerator=accelerator or Accelerator())
        values = {"runtime": "docker", "runner": "torchrun", "image": ImagePlan(kind="ready", name="img:1")} | job
        chosen = Chosen(facts=facts)
        return plan_node(CARD, make_job(**values), context or Context(), chosen, topology or make_topology(), files)

    return plan


@pytest.fixture
def process_plan(make_job, make_facts, make_topology):
    def plan(context=None, **job):
        facts = make_facts(process_env={"PATH": "/bin", "HOME": "/home/a"})
        chosen = Chosen(facts=facts)
        return plan_node(CARD, make_job(**job), context or Context(), chosen, make_topology(), FILES)

    return plan


def test_ranks_addresses_and_runner_reach_the_container(docker_plan):
    env = docker_plan().container.env
    assert env["MULTI_NODE_RUNNER"].startswith("torchrun --nnodes 2 --node_rank 1")
    assert env["MULTI_NODE_RUNNER"] == env["MAD_MULTI_NODE_RUNNER"]
    assert (env["NODE_RANK"], env["MASTER_ADDR"], env["MASTER_PORT"]) == ("1", "10.0.0.4", "29501")
    assert (env["NCCL_SOCKET_IFNAME"], env["GLOO_SOCKET_IFNAME"]) == ("=eth0", "eth0")
    assert env["MADRUN_RUN_ID"] == "{run_id}"


def test_the_same_environment_reaches_the_process_over_the_hosts_own(process_plan, docker_plan):
    env = process_plan(runner="torchrun").process.env
    assert env["PATH"] == "/bin"
    assert env["MULTI_NODE_RUNNER"] == docker_plan().container.env["MULTI_NODE_RUNNER"]


def test_the_plain_runner_sets_the_ranks_itself(process_plan):
    env = process_plan(runner="plain").process.env
    assert (env["MULTI_NODE_RUNNER"], env["RANK"], env["WORLD_SIZE"]) == ("python3", "1", "2")


def test_torchrun_starts_its_ranks_by_a_program_in_the_box(docker_plan, process_plan):
    assert docker_plan().container.env["PYTHON_EXEC"] == "/madrun/rank"
    assert process_plan(runner="torchrun").process.env["PYTHON_EXEC"] == "{run_dir}/node-1/box/rank"
    assert "PYTHON_EXEC" not in docker_plan(runner="plain").container.env


def test_a_users_own_starter_of_ranks_is_left_alone_and_said(docker_plan):
    plan = docker_plan(env={"PYTHON_EXEC": "/opt/python"})
    assert plan.container.env["PYTHON_EXEC"] == "/opt/python"
    assert [note for note in plan.notes if "no logs of single ranks: docker_env_vars sets PYTHON_EXEC" in note]
    assert docker_plan().notes == ()


def test_the_users_variable_stands_above_the_one_chosen_by_the_route(docker_plan):
    assert docker_plan(env={"NCCL_SOCKET_IFNAME": "ib0"}).container.env["NCCL_SOCKET_IFNAME"] == "ib0"


def test_libraries_beside_nccl_and_gloo_are_told_the_interface_and_the_user_stands_above(docker_plan):
    assert docker_plan().container.env["TP_SOCKET_IFNAME"] == "eth0"
    assert "UCX_NET_DEVICES" not in docker_plan().container.env
    assert docker_plan(runner="mpirun").container.env["UCX_NET_DEVICES"] == "eth0"
    env = {"UCX_NET_DEVICES": "mlx5_0:1", "TP_SOCKET_IFNAME": "ib0"}
    found = docker_plan(runner="mpirun", env=env).container.env
    assert {name: found[name] for name in env} == env


def test_a_secret_is_a_reference(docker_plan):
    assert docker_plan(secrets=("HF_TOKEN",)).container.env["HF_TOKEN"] == "{secret}"


def test_the_container_is_named_and_labelled_by_run_and_node(docker_plan):
    container = docker_plan().container
    assert container.name == "madrun-{run_id}-n1"
    assert container.labels == {
        "madrun.run": "{run_id}",
        "madrun.node": "1",
        "madrun.card": "one",
        "madrun.owner": "1000",
    }


def test_an_entrypoint_of_the_image_is_replaced_by_the_driver(docker_plan):
    container = docker_plan().container
    assert (container.entrypoint, container.command) == (("bash",), ("/madrun/driver.sh",))


def test_files_belong_to_the_user_unless_the_user_is_root_or_the_engine_rootless(docker_plan, make_facts, process_plan):
    assert docker_plan().owner == "1000:1001"
    assert docker_plan().container.env["MADRUN_OWNER"] == "1000:1001"
    assert docker_plan(engine=Engine(name="docker", version="27", rootless=True)).owner == ""
    assert process_plan().owner == ""


def test_data_is_mounted_read_only_and_named(docker_plan):
    node = docker_plan(data=DATA)
    assert Mount(source="/nfs/corpus", target="/data_dlm_0", read_only=True) in node.container.mounts
    assert node.container.env["MAD_DATAHOME"] == "/data_dlm_0"
    assert node.container.env["MAD_DATANAME"] == "corpus"


def test_without_a_container_the_data_is_where_it_lies(process_plan):
    assert process_plan(data=DATA).process.env["MAD_DATAHOME"] == "/nfs/corpus"


def fetched(**changes):
    values = {"name": "corpus", "provider": "local", "path": "/nfs/mirror/corpus"}
    values["fetches"] = (Fetch(provider="local", place="/nfs/corpus"),)
    return replace(FILES, data=(Source(**(values | changes)),))


def test_a_mirror_takes_the_place_of_the_source(docker_plan):
    node = docker_plan(Context(force_mirror_local="/nfs/mirror"), files=fetched(), data=DATA)
    assert node.mirrors == {"corpus": "/nfs/corpus"}
    assert node.fetches == {"corpus": (Fetch(provider="local", place="/nfs/corpus"),)}
    assert node.data_sources == {"corpus": "/nfs/mirror/corpus"}
    assert (node.mirror_root, node.own_data) == ("/nfs/mirror", ())
    assert Mount(source="/nfs/mirror/corpus", target="/data_dlm_0", read_only=True) in node.container.mounts


def test_what_each_node_fetches_for_itself_is_named(docker_plan):
    node = docker_plan(files=fetched(own=True), data=DATA)
    assert (node.mirror_root, node.own_data) == ("", ("corpus",))


def test_data_may_be_written_where_data_json_says_so(docker_plan):
    data = (DataPlan(name="corpus", provider="local", home="/data_dlm_0", writable=True),)
    mounts = docker_plan(data=data).container.mounts
    assert Mount(source="/nfs/corpus", target="/data_dlm_0", read_only=False) in mounts


def test_a_card_whose_data_nobody_provides_has_no_datahome(docker_plan):
    assert (
        not {"MAD_DATAHOME", "MAD_DATANAME"} & docker_plan(files=replace(FILES, data=()), data=()).container.env.keys()
    )


def test_mounts_of_the_context_go_from_host_to_container(docker_plan):
    node = docker_plan(Context(docker_mounts={"/in": "/on/host"}))
    assert node.container.mounts[-1] == Mount(source="/on/host", target="/in")


def test_two_spellings_of_a_place_are_one_place(docker_plan):
    assert docker_plan(Context(docker_mounts={"//in/./": "/on/host"})).container.mounts[-1].target == "/in"
    with pytest.raises(ContextError, match="docker_mounts: /in is mounted already"):
        docker_plan(Context(docker_mounts={"/in": "/on/host", "/in/": "/else"}))


@pytest.mark.parametrize("target", ["/madrun", "/data_dlm_0"])
def test_one_place_is_not_mounted_twice(docker_plan, target):
    with pytest.raises(ContextError, match=f"docker_mounts: {target} is mounted already"):
        docker_plan(Context(docker_mounts={target: "/on/host"}), data=DATA)


def test_mounts_that_need_a_container_are_refused_on_the_host(process_plan):
    assert process_plan(Context(docker_mounts={"/a": "/a"})).process is not None
    with pytest.raises(ContextError, match="docker_mounts: .*/in.*the runtime is process"):
        process_plan(Context(docker_mounts={"/in": "/on/host"}))


def test_the_process_starts_the_driver_in_its_work_directory(process_plan):
    process = process_plan().process
    assert process.command == ("bash", "{run_dir}/node-1/box/driver.sh")
    assert process.workdir == "{run_dir}/node-1/box/work"


def test_the_place_of_the_data_that_the_user_gives_counts(docker_plan):
    assert docker_plan(data=DATA, env={"MAD_DATAHOME": "/mine"}).container.env["MAD_DATAHOME"] == "/mine"


@pytest.mark.parametrize(
    ("source", "mount"), [("/on", ("/on", False)), ("/on:ro", ("/on", True)), ("/o:rw", ("/o", False))]
)
def test_a_mount_of_the_context_may_be_read_only(docker_plan, source, mount):
    found = docker_plan(Context(docker_mounts={"/in": source})).container.mounts[-1]
    assert (found.source, found.read_only, found.target) == (*mount, "/in")


@pytest.mark.parametrize(("source", "refused"), [("/in", False), ("/in:rw", False), ("/in:ro", True)])
def test_the_host_itself_cannot_be_made_read_only(process_plan, source, refused):
    context = Context(docker_mounts={"/in": source})
    if refused:
        with pytest.raises(ContextError, match="not read only"):
            process_plan(context)
    else:
        assert process_plan(context).process is not None


def test_ranks_on_gpus_say_which_network_they_use_unless_their_environment_says_otherwise(docker_plan):
    env = docker_plan(vendor="amd", nnodes=2).container.env
    assert (env["NCCL_DEBUG"], env["NCCL_DEBUG_FILE"]) == ("INFO", "/madrun/nccl/%h.%p.log")
    quiet = docker_plan(vendor="amd", nnodes=2, env={"NCCL_DEBUG": "WARN"}).container.env
    assert (quiet["NCCL_DEBUG"], "NCCL_DEBUG_FILE" in quiet) == ("WARN", False)
    assert "NCCL_DEBUG" not in docker_plan(nnodes=2).container.env


PORT = HcaPort(number=1, state="ACTIVE", phys_state="LinkUp", link_layer="InfiniBand", rate=400)
HCAS = (Hca(name="mlx5_0", driver="mlx5_core", ports=(PORT,)),)
VERBS = ("/dev/infiniband/uverbs0",)


@pytest.fixture
def rdma_plan(make_job, make_facts, make_topology):
    """A node of two with an adapter; `process_env` is that of its shell."""

    def plan(runtime="docker", process_env=None, context=None, nnodes=2, **job):
        engine = Engine(name="docker", version="27") if runtime == "docker" else None
        facts = make_facts(engine=engine, hcas=HCAS, infiniband=VERBS, process_env=process_env or {})
        values = {"runtime": runtime, "image": ImagePlan(kind="ready", name="img:1"), "nnodes": nnodes} | job
        return plan_node(
            CARD, make_job(**values), context or Context(), Chosen(facts=facts), make_topology(nnodes=nnodes), FILES
        )

    return plan


def test_the_ports_that_carry_rdma_and_what_the_driver_looks_for_stand_in_the_plan(rdma_plan):
    node = rdma_plan(transport="rdma")
    assert node.container.env["NCCL_IB_HCA"] == "=mlx5_0:1"
    assert node.container.env["MADRUN_FABRIC"] == "mlx5"
    assert node.hcas == ("mlx5_0:1",)
    assert node.notes[0].startswith("TRANSPORT rdma: NCCL_IB_HCA==mlx5_0:1")


def test_without_transport_nothing_of_rdma_is_set_but_what_mpi_may_use_is_looked_at(rdma_plan):
    assert not {"NCCL_IB_HCA", "MADRUN_FABRIC"} & set(rdma_plan(runner="torchrun").container.env)
    env = rdma_plan(runner="mpirun").container.env
    assert "NCCL_IB_HCA" not in env
    assert env["MADRUN_FABRIC"] == "mlx5"
    assert rdma_plan(runner="mpirun", transport="rdma").container.env["UCX_NET_DEVICES"] == "mlx5_0:1"
    assert "MADRUN_FABRIC" not in rdma_plan(transport="rdma", nnodes=1).container.env


def test_what_the_user_said_of_rdma_stands_in_a_container_and_on_the_host(rdma_plan):
    assert rdma_plan(transport="rdma", env={"NCCL_IB_HCA": "mlx5"}).container.env["NCCL_IB_HCA"] == "mlx5"
    env = rdma_plan("process", {"NCCL_IB_HCA": "mlx5"}, transport="rdma").process.env
    assert env["NCCL_IB_HCA"] == "mlx5"
    with pytest.raises(ContextError, match="NCCL_IB_DISABLE is set to '1'"):
        rdma_plan("process", {"NCCL_IB_DISABLE": "1"}, transport="rdma")
    assert "NCCL_IB_DISABLE" not in rdma_plan("docker", {"NCCL_IB_DISABLE": "1"}, transport="rdma").container.env


def test_device_files_that_are_left_out_stand_against_rdma(rdma_plan):
    node = rdma_plan(transport="rdma", context=Context(docker_drop=("infiniband",)))
    assert any("leave infiniband out of docker_drop" in note for note in node.notes)


def test_what_a_runner_needs_is_looked_for_in_the_image_unless_the_script_may_bring_it(docker_plan):
    assert docker_plan(runner="accelerate").container.env["MADRUN_PROGRAMS"] == "accelerate"
    assert "MADRUN_PROGRAMS" not in docker_plan(runner="torchrun").container.env
    assert "MADRUN_PROGRAMS" not in docker_plan(runner="deepspeed", run_directory="run_directory").container.env
    assert docker_plan(runner="mpirun", run_directory="run_directory").container.env["MADRUN_PROGRAMS"] == "mpirun"


def test_a_runner_is_told_where_its_file_lies_and_the_node_where_it_comes_from(docker_plan):
    file = RunnerFile(path="/h/acc.yaml", suffix=".yaml", digest="ab12", values={})
    plan = docker_plan(
        runner="accelerate", runner_config="runner-config.yaml:ab12", files=replace(FILES, runner_file=file)
    )
    assert "--config_file /madrun/runner-config.yaml" in plan.container.env["MULTI_NODE_RUNNER"]
    assert plan.runner_config == "/h/acc.yaml"


def test_a_range_of_nodes_is_a_note(docker_plan):
    assert any("torchrun numbers the nodes itself" in note for note in docker_plan(nnodes=2, elastic="1:2").notes)
