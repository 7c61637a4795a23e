"""The variables that scripts of MAD repositories expect, in the plan of a job and of a node."""

import pytest

from madrun.planning.devices import Chosen
from madrun.planning.job import CardFacts, plan_job
from madrun.planning.mad.environment import mad_job_env, mad_node_env
from madrun.planning.node import plan_node
from madrun.spec.card import Card
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.facts import Accelerator, Engine, Gpu
from madrun.spec.mad import MadCard

AMD = Accelerator(vendor="amd", gpus=(Gpu(index=0, arch="gfx942", model="AMD Instinct MI300X"),), stack="6.4.1")
NVIDIA = Accelerator(vendor="nvidia", gpus=(Gpu(index=0, arch="sm_90", model="NVIDIA H200"),), stack="12.8")


@pytest.fixture
def node_env(make_facts, make_topology):
    def env(accelerator=AMD, host=None, present=8, **context):
        chosen = Chosen(facts=make_facts(accelerator=accelerator), present=present)
        return mad_node_env(Context(**context), chosen, make_topology(nnodes=1, node_rank=0), host or {})

    return env


def test_the_host_says_what_it_is(node_env):
    assert node_env() == {
        "JENKINS_BUILD_NUMBER": "0",
        "MAD_SYSTEM_NGPUS": "8",
        "MAD_SYSTEM_GPU_ARCHITECTURE": "gfx942",
        "MAD_SYSTEM_GPU_PRODUCT_NAME": "AMD Instinct MI300X",
        "MAD_SYSTEM_HIP_VERSION": "6.4",
    }
    assert node_env(NVIDIA)["MAD_SYSTEM_GPU_ARCHITECTURE"] == "NVIDIA H200"


def test_a_host_without_gpus_has_the_names_all_the_same(node_env):
    found = node_env(Accelerator(), present=0)
    assert (found["MAD_SYSTEM_NGPUS"], found["MAD_SYSTEM_GPU_ARCHITECTURE"]) == ("0", "")


def test_the_build_number_is_that_of_the_host(node_env):
    assert node_env(host={"BUILD_NUMBER": "17"})["JENKINS_BUILD_NUMBER"] == "17"


@pytest.mark.parametrize("said", [{"rocm_path": "/r7"}, {"docker_env_vars": {"MAD_ROCM_PATH": "/r7"}}])
def test_rocm_path_of_the_context_is_that_of_an_amd_container_else_the_images(node_env, said):
    assert node_env(**said)["ROCM_PATH"] == "/r7"
    assert "ROCM_PATH" not in node_env(NVIDIA, **said)


def test_the_rocm_of_the_host_is_not_that_of_the_container(node_env):
    assert "ROCM_PATH" not in node_env(MAD_ROCM_PATH="/r7")


def test_vendor_and_guest_os_are_those_of_the_context_else_of_host_and_dockerfile(make_topology):
    text = "# a\n# CONTEXT {'gpu_vendor': 'AMD', 'guest_os': 'CENTOS'}\nFROM x"
    found = mad_job_env(Context(), AMD, make_topology(), text)
    assert found == {"MAD_GPU_VENDOR": "AMD", "MAD_GUEST_OS": "CENTOS", "MAD_RUNTIME_NGPUS": "1"}
    said = mad_job_env(Context(gpu_vendor="nvidia", guest_os="X"), AMD, make_topology(), text)
    assert (said["MAD_GPU_VENDOR"], said["MAD_GUEST_OS"]) == ("NVIDIA", "X")
    assert mad_job_env(Context(), AMD, make_topology(), "FROM x")["MAD_GUEST_OS"] == "UBUNTU"


@pytest.fixture
def planned(make_facts, make_topology):
    def plan(context=None, mad=True, **card):
        values = {"name": "one", "folder": "/r/s", "repository": "/r", "source": "m.json", "script": "run.sh"} | card
        mad_card = MadCard(short="one", dockerfile="d") if mad else None
        made = Card(**values, mad=mad_card)
        facts = make_facts(engine=Engine(name="docker", version="27"))
        files, topology = CardFacts(script_hash="h", files=("run.sh",)), make_topology(nnodes=1, node_rank=0)
        context = context or Context(MAD_CONTAINER_IMAGE="img:1")
        job = plan_job(made, context, facts, topology, files, frozenset({"one_TOKEN"}))
        return job, plan_node(made, job, context, Chosen(facts=facts), topology, files).container

    return plan


def test_they_reach_the_container_of_a_mad_card_and_not_of_a_native_one(planned):
    env = planned(multiple_results="perf.csv")[1].env
    assert (env["MAD_MODEL_NAME"], env["MAD_OUTPUT_CSV"], env["MAD_GUEST_OS"]) == ("one", "perf.csv", "UBUNTU")
    assert (env["MAD_RUNTIME_NGPUS"], env["MAD_SYSTEM_NGPUS"]) == ("2", "0")
    assert env["one_TOKEN"] == "{secret}"
    assert "MAD_SYSTEM_NGPUS" not in planned(mad=False)[1].env


def test_the_runner_is_words_for_torchrun_and_empty_where_the_script_starts_all(planned):
    runner = planned()[1].env["MAD_MULTI_NODE_RUNNER"]
    assert runner.startswith("torchrun --nnodes 1 --node_rank 0 --nproc_per_node 2 ")
    assert not set(runner) & set("'\"$`\\;=")
    args = MultiNodeArgs(RUNNER="script")
    said = Context(MAD_CONTAINER_IMAGE="i", multi_node_args=args, distributed={"launcher": "vllm"})
    job, container = planned(said)
    assert container.env["MAD_MULTI_NODE_RUNNER"] == ""
    assert container.env["VLLM_TENSOR_PARALLEL_SIZE"] == "2"
    assert job.launcher == "vllm"


def test_a_runner_that_was_brought_is_kept(planned):
    said = Context(MAD_CONTAINER_IMAGE="i", docker_env_vars={"MAD_MULTI_NODE_RUNNER": "mine -n 2"})
    assert planned(said)[1].env["MAD_MULTI_NODE_RUNNER"] == "mine -n 2"


def test_options_and_cpus_reach_the_container(planned):
    said = Context(
        MAD_CONTAINER_IMAGE="i",
        docker_cpus=" 0 - 3, 8",
        additional_docker_run_options="--network bridge --cap-add X --label 'a b'",
    )
    container = planned(said)[1]
    assert (container.network, container.cpus) == ("bridge", "0-3,8")
    assert container.options == ("--cap-add", "X", "--label", "a b")


def test_a_mount_of_the_user_may_lie_in_the_workspace(planned):
    said = Context(MAD_CONTAINER_IMAGE="i", docker_mounts={"/myworkspace/data": "/nfs"})
    assert [mount.source for mount in planned(said)[1].mounts if mount.target == "/myworkspace/data"] == ["/nfs"]


def test_what_each_node_says_of_itself_is_no_part_of_the_common_job(planned):
    own = {"VLLM_HOST_IP": "10.0.0.1", "SGLANG_NODE_RANK": "1", "MIOPEN_USER_DB_PATH": "/x"}
    job, container = planned(Context(MAD_CONTAINER_IMAGE="i", docker_env_vars=own))
    assert own.items() <= container.env.items()
    assert job == planned(Context(MAD_CONTAINER_IMAGE="i"))[0]


def test_scripts_that_may_write_into_the_checkout_are_another_job(planned):
    copy = Context(MAD_CONTAINER_IMAGE="img:1", checkout="copy")
    assert planned()[0] != planned(copy)[0]
    assert planned(mad=False)[0] == planned(copy, mad=False)[0]
