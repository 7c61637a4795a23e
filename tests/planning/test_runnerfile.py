"""accelerate's own file against the plan: every contradiction is named, and what is none passes."""

import pytest

from madrun.errors import ContextError
from madrun.planning.runnerfile import RunnerFile
from madrun.planning.runnerwords import runner_words
from madrun.spec.context import MultiNodeArgs
from madrun.spec.topology import Topology


def topology(**changes):
    values = {
        "nnodes": 2,
        "node_rank": 1,
        "nproc_per_node": 4,
        "master_addr": "10.0.0.4",
        "master_port": 29501,
        "control_port": 29502,
        "nccl_ifname": "=eth0",
        "gloo_ifname": "eth0",
    }
    return Topology(**(values | changes))


def checked(vendor="nvidia", runner="accelerate", topo=None, said=None, **values):
    values = {"distributed_type": "MULTI_GPU"} | values
    file = RunnerFile(path="/h/acc.yaml", suffix=".yaml", digest="ab12", values=values)
    args = MultiNodeArgs(RUNNER=runner, MASTER_ADDR="head", RUNNER_ARGS=said)
    return runner_words(args, topo or topology(), vendor, file)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"num_processes": 8, "num_machines": 2, "machine_rank": 1, "main_process_port": 29501},
        {"num_processes": -1, "main_process_ip": "head", "rdzv_backend": "static", "same_network": True},
        {"main_process_ip": "10.0.0.4", "gpu_ids": "all", "use_cpu": False, "mixed_precision": "bf16"},
        {"gpu_ids": "0, 1,2,3", "compute_environment": "LOCAL_MACHINE", "main_process_ip": None},
        {"deepspeed_config": {"deepspeed_multinode_launcher": "standard"}, "mpirun_config": None},
    ],
)
def test_a_file_that_agrees_is_given_on(values):
    found = checked(**values)
    assert (found.config, found.args) == ("runner-config.yaml:ab12", ())


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"num_processes": 4}, "num_processes: found 4, planned: 8 (NNODES 2 x NPROC_PER_NODE 4)"),
        ({"num_machines": 1}, "num_machines: found 1, planned: 2 (NNODES)"),
        ({"machine_rank": 0}, "machine_rank: found 0, planned: 1 (NODE_RANK of this node; every node"),
        ({"main_process_ip": "10.0.0.9"}, "main_process_ip: found '10.0.0.9', planned: 10.0.0.4 (MASTER_ADDR)"),
        ({"main_process_port": 29500}, "main_process_port: found 29500, planned: 29501 (MASTER_PORT)"),
        ({"rdzv_backend": "c10d"}, "rdzv_backend: found 'c10d', planned: static"),
        ({"same_network": False}, "same_network: found False, planned: true"),
        ({"use_cpu": True}, "use_cpu: found True, planned: the GPUs of this host (nvidia)"),
        ({"distributed_type": "MULTI_CPU"}, "distributed_type: found 'MULTI_CPU', planned: the GPUs"),
        ({"distributed_type": "NO"}, "distributed_type: found 'NO', planned: 8 processes"),
        ({"distributed_type": "XLA"}, "distributed_type: found 'XLA', planned: ranks on nvidia"),
        ({"gpu_ids": "0,1"}, "gpu_ids: found '0,1', planned: all that the run gets"),
        ({"compute_environment": "AMAZON_SAGEMAKER"}, "compute_environment: found 'AMAZON_SAGEMAKER', planned: LOCAL"),
        ({"deepspeed_config": {"deepspeed_hostfile": "h"}}, "deepspeed_config.deepspeed_hostfile: found 'h', planned"),
        ({"deepspeed_config": {"deepspeed_multinode_launcher": "pdsh"}}, "found 'pdsh', planned: standard"),
        ({"mpirun_config": {"mpirun_hostfile": "h"}}, "mpirun_config.mpirun_hostfile: found 'h', planned: none"),
    ],
)
def test_a_key_that_contradicts_the_plan_is_named_with_both_values(values, line):
    with pytest.raises(ContextError) as caught:
        checked(**values)
    (told,) = str(caught.value).splitlines()[1:]
    assert str(caught.value).startswith("multi_node_args.CONFIG_FILE: /h/acc.yaml contradicts the plan")
    assert line in told


def test_all_contradictions_stand_in_one_error():
    with pytest.raises(ContextError) as caught:
        checked(num_processes=1, num_machines=1, machine_rank=0, same_network=False)
    assert len(str(caught.value).splitlines()) == 5


def test_a_file_without_its_type_is_refused_before_accelerate_does():
    file = RunnerFile(path="/h/acc.yaml", suffix=".yaml", digest="ab12", values={})
    with pytest.raises(ContextError, match="/h/acc.yaml: distributed_type is missing"):
        runner_words(MultiNodeArgs(RUNNER="accelerate"), topology(), "cpu", file)


def test_on_cpus_and_on_one_node_less_contradicts():
    assert checked("cpu", use_cpu=True, distributed_type="MULTI_CPU").args == ()
    one = topology(nnodes=1, node_rank=0, nproc_per_node=1)
    assert checked(topo=one, distributed_type="NO", same_network=False, num_processes=1).args == ()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("FSDP", ("--use_fsdp",)), ("DEEPSPEED", ("--use_deepspeed",)), ("MEGATRON_LM", ("--use_megatron_lm",))],
)
def test_how_the_file_starts_ranks_is_asked_for_once_and_before_the_users_words(kind, words):
    assert checked(distributed_type=kind, said="--debug").args == (*words, "--debug")
    assert checked(distributed_type=kind, said=words[0]).args == words
    sharded = checked(distributed_type="FSDP", parallelism_config={"parallelism_config_tp_size": 2})
    assert sharded.args == ("--use_fsdp", "--use_parallelism_config")


def test_a_file_for_deepspeed_says_nothing_of_nodes():
    assert checked(runner="deepspeed", num_machines=7).config == "runner-config.yaml:ab12"
