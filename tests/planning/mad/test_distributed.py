"""`distributed`: which runner a launcher means, how many nodes and processes, and what its scripts read."""

import pytest

from madrun.errors import ContextError
from madrun.planning.mad.distributed import args_of, launcher_env, processes_of, runner_of
from madrun.spec.card import Card
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.facts import Accelerator, Gpu
from madrun.spec.mad import MadCard

CARD = Card(
    name="one",
    folder="/r/s",
    repository="/r",
    source="m.json",
    script="run.sh",
    mad=MadCard(short="one", dockerfile="docker/one"),
)


def args(distributed, scheduled=False, **merged):
    return args_of({"distributed": distributed} | merged, CARD, scheduled)


@pytest.mark.parametrize(
    ("launcher", "runner"),
    [
        ("", ""),
        *((name, "torchrun") for name in ("torchrun", "megatron", "megatron-lm", "torchtitan", "none", "home_made")),
        *((name, "script") for name in ("vllm", "sglang", "sglang-disagg", "sglang_disagg", "primus", "VLLM")),
    ],
)
def test_a_launcher_means_a_runner(launcher, runner):
    assert runner_of({"launcher": launcher}) == runner


@pytest.mark.parametrize("launcher", ["deepspeed", "mpirun", "accelerate"])
def test_a_launcher_is_the_runner_of_its_name_unless_the_words_are_given(launcher):
    assert args({"launcher": launcher}) == ({"RUNNER": launcher}, [])
    given = {"docker_env_vars": {"MAD_MULTI_NODE_RUNNER": "deepspeed --num_gpus 2"}}
    assert args({"launcher": launcher}, **given)[0] == {"RUNNER": "script"}


def test_words_of_ones_own_beside_a_runner_for_which_other_nodes_would_wait_are_refused():
    given = {"docker_env_vars": {"MAD_MULTI_NODE_RUNNER": "mine"}, "multi_node_args": {"RUNNER": "mpirun"}}
    with pytest.raises(ContextError, match="MAD_MULTI_NODE_RUNNER: found 'mine' with multi_node_args.RUNNER 'mpirun'"):
        args({}, **given)
    assert args({}, **given | {"multi_node_args": {"RUNNER": "accelerate"}}) == ({}, [])


@pytest.mark.parametrize("variables", [None, 5, "MAD_MULTI_NODE_RUNNER", {"MAD_MULTI_NODE_RUNNER": "mine"}])
def test_what_is_of_no_shape_is_left_to_those_who_look_at_shapes(variables):
    assert args({}, docker_env_vars=variables, multi_node_args={"RUNNER": ["mpirun"]}) == ({}, [])


def test_nodes_of_a_card_count_only_where_the_command_says_how_they_meet():
    found, notes = args({"nnodes": 4, "port": 1234})
    assert found == {}
    assert "distributed.nnodes 4: this is a run on 1 node" in notes[0]
    found, notes = args({"nnodes": 4, "port": 1234}, multi_node_args={"MASTER_ADDR": "a", "NODE_RANK": 0})
    assert (found, notes) == ({"NNODES": 4, "MASTER_PORT": 1234}, [])
    assert args({"nnodes": 4}, scheduled=True)[0] == {"NNODES": 4}


def test_other_nodes_than_those_of_the_command_are_named():
    found, notes = args({"nnodes": 4}, multi_node_args={"NNODES": "2"})
    assert found == {}
    assert notes == ["distributed.nnodes 4 has no effect: multi_node_args.NNODES is 2"]
    assert args({"nnodes": 2}, multi_node_args={"NNODES": "2"}) == ({}, [])


def test_what_has_no_effect_is_named():
    _, notes = args({"backend": "nccl", "nnode": 2, "launcher": "home_made"})
    text = "\n".join(notes)
    assert "distributed.backend 'nccl' has no effect" in text
    assert "unknown key nnode has no effect (did you mean 'nnodes'?)" in text
    assert "'home_made' is not known" in text


def processes(said, gpus, **context):
    accelerator = Accelerator(vendor="nvidia", gpus=tuple(Gpu(index=i) for i in range(gpus)))

    class Facts:
        pass

    Facts.accelerator = accelerator if gpus else Accelerator()
    return processes_of(Context(distributed={"nproc_per_node": said}, **context), gpus, Facts)


def test_processes_are_those_of_distributed_as_far_as_there_are_gpus():
    assert processes(4, 8) == (4, "")
    assert processes("8", 0) == (8, "")
    assert processes(8, 4) == (None, "distributed.nproc_per_node 8: this run has 4 GPUs here, and as many processes")
    given = MultiNodeArgs(NPROC_PER_NODE=2)
    assert processes(4, 8, multi_node_args=given)[1].endswith("multi_node_args.NPROC_PER_NODE is 2")
    with pytest.raises(ContextError, match="nproc_per_node: found 'x'"):
        processes("x", 8)


def env(launcher, topology, said=None, **context):
    return launcher_env(Context(distributed={"launcher": launcher} | (said or {}), **context), topology)


def test_servers_are_told_their_size(make_topology):
    one = make_topology(nnodes=1, node_rank=0, nproc_per_node=8)
    sizes = {"VLLM_TENSOR_PARALLEL_SIZE": "8", "VLLM_PIPELINE_PARALLEL_SIZE": "1"}
    assert env("vllm", one) == sizes
    found = env("sglang", one)
    assert (found["SGLANG_TENSOR_PARALLEL_SIZE"], found["SGLANG_PIPELINE_PARALLEL_SIZE"]) == ("8", "1")
    assert (found["SGLANG_NODE_IPS"], found["SGLANG_NODE_RANK"]) == ("10.0.0.4", "0")
    assert env("torchrun", one) == {}


def test_sglang_on_several_nodes_is_told_where_they_are_or_refused(make_topology):
    with pytest.raises(ContextError, match="SGLANG_NODE_IPS.*HOST_LIST"):
        env("sglang", make_topology())
    listed = env("sglang", make_topology(), multi_node_args=MultiNodeArgs(HOST_LIST="10.0.0.4,10.0.0.5"))
    assert (listed["SGLANG_NODE_IPS"], listed["SGLANG_NODE_RANK"]) == ("10.0.0.4,10.0.0.5", "1")
    given = env("sglang_disagg", make_topology(), docker_env_vars={"SGLANG_NODE_IPS": "a,b"})
    assert given["SGLANG_NODE_IPS"] == "a,b"


def test_sglang_disagg_and_primus_have_words_of_their_own(make_topology):
    one = make_topology(nnodes=1, node_rank=0)
    found = env("sglang-disagg", one, {"sglang_disagg": {"prefill_nodes": 1, "decode_nodes": 2}})
    assert found["SGLANG_DISAGG_MODE"] == "enabled"
    assert (found["SGLANG_DISAGG_PREFILL_NODES"], found["SGLANG_DISAGG_DECODE_NODES"]) == ("1", "2")
    assert found["SGLANG_TP_SIZE"] == "2"
    said = {"primus": {"config_path": "c.yaml", "cli_extra": ["--a", "1"], "backend": "megatron"}}
    assert env("primus", one, said) == {
        "PRIMUS_CONFIG_PATH": "c.yaml",
        "PRIMUS_CLI_EXTRA": "--a 1",
        "BACKEND": "megatron",
    }
    with pytest.raises(ContextError, match="distributed.primus: found 'x'"):
        env("primus", one, {"primus": "x"})
