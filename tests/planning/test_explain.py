"""Every final value says where it came from, and whether it reached the container."""

from dataclasses import replace

import pytest

from madrun.errors import UsageError
from madrun.planning.explain import Explained, chosen, explain, of_the_image, reached
from madrun.planning.layers import resolve
from madrun.planning.node import runner_whys
from madrun.spec.card import Card
from madrun.spec.context import Context, Layer
from madrun.spec.plan import make_plan

CARD = Card(name="one", folder="f", repository="r", source="s", script="run.sh")
ENV = {
    "NCCL_DEBUG": "INFO",
    "HF_TOKEN": "{secret}",
    "MASTER_PORT": "29501",
    "NNODES": "1",
    "NCCL_SOCKET_IFNAME": "=lo",
    "WORLD_SIZE": "1",
    "MADRUN_RUN_ID": "{run_id}",
    "HOME": "/root",
}


@pytest.fixture
def explained(make_job, make_node):
    def make(*layers, card=CARD, whys=None, env=None, hcas=(), **job):
        context, origins, _ = resolve(list(layers))
        node = make_node(hcas=hcas)
        node = replace(node, process=replace(node.process, env=env or ENV))
        rows = explain(context, origins, make_plan("0", make_job(**job), node), card, whys or {})
        return {row.key: row for row in rows}

    return make


def env(**values):
    return {"docker_env_vars": values}


def test_a_variable_names_its_layer_and_what_it_overrode_highest_first(explained):
    layers = [
        Layer(name, env(NCCL_DEBUG=value)) for name, value in (("site", "WARN"), ("card", "1"), ("--env", "INFO"))
    ]
    row = explained(*layers)["NCCL_DEBUG"]
    assert (row.value, row.layer, row.variable) == ("INFO", "--env", "NCCL_DEBUG")
    assert row.overrode == (("card", "1"), ("site", "WARN"))


def test_a_default_is_a_layer(explained):
    rows = explained(Layer("flags", {"grace": 7}))
    assert (rows["grace"].layer, rows["grace"].overrode) == ("flags", (("default", 5),))
    assert (rows["ipc"].value, rows["ipc"].layer) == ("private", "default")


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("multi_node_args.MASTER_PORT", 29501, "a free port of this host"),
        ("multi_node_args.CONTROL_PORT", 29502, "MASTER_PORT + 1"),
        ("multi_node_args.NPROC_PER_NODE", 1, "RUNNER plain starts one"),
        ("multi_node_args.GLOO_SOCKET_IFNAME", "lo", "the interface of the route to MASTER_ADDR"),
        ("runtime", "process", "no engine"),
    ],
)
def test_a_value_that_was_left_open_says_what_it_was_derived_from(explained, key, value, why):
    row = explained(whys={"runtime": "no engine"})[key]
    assert (row.value, row.layer, row.why) == (value, "derived", why)


@pytest.mark.parametrize(
    ("job", "card", "gpus", "why"),
    [
        ({"runner": "torchrun"}, CARD, (), "this host has no GPU"),
        ({"runner": "torchrun"}, CARD, (0, 1), "one for each GPU"),
        ({"runner": "torchrun"}, replace(CARD, gpus_per_node=2), (0, 1), "the card's gpus_per_node"),
    ],
)
def test_the_number_of_processes_says_why(make_job, make_node, job, card, gpus, why):
    plan = make_plan("0", make_job(**job), make_node(gpus=gpus))
    rows = {row.key: row for row in explain(Context(), [], plan, card, {})}
    assert rows["multi_node_args.NPROC_PER_NODE"].why == why


def test_arguments_are_derived_from_the_card_and_what_was_added(explained):
    rows = explained(Layer("--arg", {"more_args": ["--x 1"]}), args="--a --x 1")
    assert (rows["model_args"].value, rows["model_args"].why) == ("--a --x 1", "the card's arguments, then more_args")
    assert rows["more_args"].layer == "--arg"


def test_a_secret_is_masked_in_its_value_and_in_what_it_overrode(explained):
    layers = [Layer("site", env(HF_TOKEN="first")), Layer("--env", env(HF_TOKEN="second"))]
    row = explained(*layers, Layer("f", {"docker_build_arg": {"PIP_TOKEN": "third"}}))
    assert (row["HF_TOKEN"].value, row["HF_TOKEN"].overrode) == ("***", (("site", "***"),))
    assert row["docker_build_arg.PIP_TOKEN"].value == "***"
    assert not any(word in repr(row) for word in ("first", "second", "third"))


def test_a_variable_that_nobody_named_comes_from_madrun_or_from_the_host(explained):
    rows = explained()
    assert (rows["WORLD_SIZE"].layer, rows["WORLD_SIZE"].why) == ("madrun", "NNODES x NPROC_PER_NODE")
    assert rows["HOME"].layer == "this host's environment"


def test_what_the_user_set_for_nccl_stands_beside_what_was_chosen(explained):
    rows = explained(Layer("--env", env(NCCL_SOCKET_IFNAME="eth9")), env=ENV | {"NCCL_SOCKET_IFNAME": "eth9"})
    assert (rows["NCCL_SOCKET_IFNAME"].value, rows["NCCL_SOCKET_IFNAME"].layer) == ("eth9", "--env")
    assert rows["multi_node_args.NCCL_SOCKET_IFNAME"].variable == ""


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("MASTER_PORT", ["multi_node_args.MASTER_PORT"]),
        ("docker_env_vars", ["HF_TOKEN", "NCCL_DEBUG"]),
        ("docker_env_vars.NCCL_DEBUG", ["NCCL_DEBUG"]),
        ("NCCL_DEBUG", ["NCCL_DEBUG"]),
        ("docker_mounts", ["docker_mounts./in"]),
        ("timeout", ["timeout"]),
    ],
)
def test_a_word_means_a_key_a_part_of_one_or_a_variable(explained, word, keys):
    rows = explained(Layer("f", env(NCCL_DEBUG="INFO", HF_TOKEN="x") | {"docker_mounts": {"/in": "/on"}}))
    assert sorted(row.key for row in chosen(rows.values(), [word])) == keys


def test_a_map_without_entries_is_shown_as_such(explained):
    rows = explained(env={"WORLD_SIZE": "1"})
    assert [row.value for row in chosen(rows.values(), ["docker_env_vars", "docker_mounts"])] == [{}, {}]


def test_a_part_means_all_of_its_keys_and_no_word_means_everything(explained):
    rows = explained()
    assert len(chosen(rows.values(), ["multi_node_args"])) == 15
    assert chosen(rows.values(), []) == list(rows.values())


@pytest.mark.parametrize(("word", "near"), [("NCCL_DEBUGG", "NCCL_DEBUG"), ("master_prt", "MASTER_PORT")])
def test_a_word_without_meaning_is_an_error_with_the_nearest(explained, word, near):
    with pytest.raises(UsageError, match=f"no key or variable '{word}' .did you mean '{near}'.*nothing sets it"):
        chosen(explained(Layer("f", env(NCCL_DEBUG="INFO"))).values(), [word])


@pytest.mark.parametrize(
    ("value", "found", "text"),
    [
        ("INFO", {"A": "INFO"}, "yes"),
        ("INFO", {"A": "WARN"}, "as WARN"),
        ("INFO", {}, "no"),
        (5, {"A": "5"}, "yes"),
        ("***", {"A": "***"}, "yes"),
        ("{run_id}", {"A": "r1"}, "yes"),
        ("{run_dir}/node-0/box/rank", {"A": "/somewhere/runs/r1/node-0/box/rank"}, "yes"),
        ("{run_dir}/node-0/box/rank", {"A": "/else/rank"}, "as /else/rank"),
    ],
)
def test_a_variable_has_reached_the_container_as_planned_or_not(value, found, text):
    assert reached(Explained(key="A", value=value, layer="f", variable="A"), found, "r1") == text


def test_what_is_no_variable_does_not_reach_a_container():
    assert reached(Explained(key="timeout", value=5, layer="f"), {"timeout": "5"}, "r") == ""


def test_variables_of_the_image_are_rows_of_their_own():
    rows = [Explained(key="A", value="1", layer="f", variable="A")]
    assert [(row.key, row.value, row.layer) for row in of_the_image(rows, {"A": "1", "PATH": "/bin"})] == [
        ("PATH", "/bin", "image or engine")
    ]


def test_what_transport_sets_is_put_down_to_it_and_what_the_user_set_is_not(explained):
    variables = ENV | {"NCCL_IB_HCA": "=mlx5_0:1", "NCCL_IB_DISABLE": "1"}
    rows = explained(env=variables, hcas=("mlx5_0:1",), transport="rdma")
    assert (rows["NCCL_IB_HCA"].layer, rows["NCCL_IB_HCA"].why) == ("madrun", "TRANSPORT rdma: mlx5_0:1")
    assert explained(env=variables, transport="sockets")["NCCL_IB_DISABLE"].why == "TRANSPORT sockets"
    said = Layer("site", env(NCCL_IB_HCA="=mlx5_0:1"))
    assert explained(said, env=variables, hcas=("mlx5_0:1",), transport="rdma")["NCCL_IB_HCA"].layer == "site"
    assert explained(env=variables)["NCCL_IB_HCA"].layer == rows["HOME"].layer


@pytest.mark.parametrize(
    ("runner", "name"),
    [
        ("mpirun", "OMPI_MCA_plm"),
        ("accelerate", "ACCELERATE_USE_CPU"),
        ("deepspeed", "DS_ACCELERATOR"),
        ("plain", "RANK"),
    ],
)
def test_what_a_runner_reads_is_said_to_be_its_own_and_not_the_hosts(explained, make_job, make_topology, runner, name):
    whys = runner_whys(make_job(runner=runner, nnodes=2), make_topology())
    rows = explained(whys=whys, env={name: "x", "MADRUN_PROGRAMS": "x", "MADRUN_HOLD": "1"}, runner=runner)
    assert (rows[name].layer, rows[name].why) == ("madrun", f"RUNNER {runner}")
    assert {rows[one].layer for one in ("MADRUN_PROGRAMS", "MADRUN_HOLD")} == {"madrun"}


def test_what_the_user_says_of_a_runners_variable_stands_above_it(explained, make_job, make_topology):
    whys, name = runner_whys(make_job(runner="mpirun", nnodes=2), make_topology()), "OMPI_MCA_plm"
    assert explained(Layer("site", env(**{name: "x"})), whys=whys, env={name: "x"})[name].layer == "site"
