"""Which variables of the host's shell reach cards of MAD repositories, and how."""

import pytest

from madrun.probe.madhost import not_passed, said_by_host


@pytest.mark.parametrize(
    "name",
    [
        *("MAD_COLLECT_METRICS", "NCCL_DEBUG", "NCCL_IB_DISABLE", "NCCL_NET_GDR_LEVEL", "TORCH_ELASTIC_RDZV_TIMEOUT"),
        *("MIOPEN_USER_DB_PATH", "PRIMUS_CONFIG_PATH", "PRIMUS_CLI_EXTRA", "SGLANG_NODE_IPS", "VLLM_USE_V1"),
        "MAD_MULTI_NODE_RUNNER",
    ],
)
def test_what_scripts_expect_is_passed_on(name):
    assert said_by_host({name: "x", "OTHER": "y"}) == {"docker_env_vars": {name: "x"}}


@pytest.mark.parametrize(
    "name",
    ["NNODES", "NODE_RANK", "NPROC_PER_NODE", "MASTER_ADDR", "MASTER_PORT", "NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"],
)
def test_what_says_how_nodes_meet_goes_into_multi_node_args(name):
    assert said_by_host({name: "x"}) == {"multi_node_args": {name: "x"}}


def test_the_launcher_is_that_of_the_host_where_nobody_else_names_one():
    assert said_by_host({"MAD_LAUNCHER": "vllm"}) == {"distributed": {"launcher": "vllm"}}


def test_empty_values_say_nothing_but_an_empty_runner():
    assert said_by_host({"NNODES": "", "NCCL_DEBUG": "", "MAD_LAUNCHER": ""}) == {}
    assert said_by_host({"MAD_MULTI_NODE_RUNNER": ""}) == {"docker_env_vars": {"MAD_MULTI_NODE_RUNNER": ""}}


def test_what_is_no_text_is_not_passed_on():
    assert said_by_host({"NCCL_DEBUG": "\udcff", "NNODES": "\udcff"}) == {}


def test_what_looks_as_if_it_were_meant_is_named():
    env = {
        "NCCL_ALGO": "Ring",
        "NCCL_DEBUG": "INFO",
        "MAD_MODEL_BATCH_SIZE": "8",
        "HOME": "/",
        "GLOO_SOCKET_IFNAME": "x",
    }
    assert not_passed(env) == ["MAD_MODEL_BATCH_SIZE", "NCCL_ALGO"]
