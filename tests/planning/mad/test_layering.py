"""What MAD's words mean in the layers: options, variables of the rendezvous, SHM_SIZE, docker_gpus."""

import pytest

from madrun.errors import ContextError
from madrun.planning.layers import card_layer, merge
from madrun.planning.mad.layering import Layering
from madrun.spec.card import Card
from madrun.spec.context import Layer
from madrun.spec.mad import MadCard

OPTIONS = "additional_docker_run_options"


def card(script="run.sh", **mad):
    values = {"short": "one", "dockerfile": "docker/one"} | mad
    return Card(name="one", folder="/r/s", repository="/r", source="m.json", script=script, mad=MadCard(**values))


def layered(*values, mad=True, env=None):
    layering = Layering()
    for number, value in enumerate(values):
        layering.add(Layer(f"layer {number}", value), mad, env or {})
    return layering, merge(layering.layers)[0]


def test_options_of_the_context_stand_behind_those_of_the_card():
    layering, merged = layered({OPTIONS: "--cpus 1 -e A=1 --shm-size 1g"}, {OPTIONS: "--cpus 2 -e A=2"})
    assert merged[OPTIONS] == "--cpus 1 --cpus 2"
    assert merged["docker_env_vars"] == {"A": "2"}
    assert merged["shm_size"] == "1g"
    assert layering.options == ("--cpus", "1", "--cpus", "2")


def test_what_a_layer_says_by_its_own_key_counts_before_its_options():
    _, merged = layered({OPTIONS: "-e A=1 --ipc host", "docker_env_vars": {"A": "0"}, "ipc": "private"})
    assert (merged["docker_env_vars"], merged["ipc"]) == ({"A": "0"}, "private")


def test_options_are_read_for_native_cards_too():
    _, merged = layered({OPTIONS: "-e A=$B"}, mad=False, env={"B": "2"})
    assert merged["docker_env_vars"] == {"A": "2"}


def test_shm_size_by_mads_name_is_shm_size():
    assert layered({"SHM_SIZE": "16g"})[1] == {"shm_size": "16g"}
    with pytest.raises(ContextError, match="layer 0: SHM_SIZE: found '1g', but shm_size is '2g'"):
        layered({"SHM_SIZE": "1g", "shm_size": "2g"})


def test_variables_of_the_rendezvous_become_multi_node_args():
    _, merged = layered({"docker_env_vars": {"NNODES": "2", "MASTER_ADDR": "10.0.0.1", "NCCL_DEBUG": "INFO"}})
    assert merged["multi_node_args"] == {"NNODES": "2", "MASTER_ADDR": "10.0.0.1"}
    assert merged["docker_env_vars"] == {"NCCL_DEBUG": "INFO"}


def test_a_layer_that_contradicts_itself_is_refused():
    with pytest.raises(
        ContextError, match="layer 0: docker_env_vars.NNODES: found '2', but multi_node_args.NNODES is 4"
    ):
        layered({"docker_env_vars": {"NNODES": "2"}, "multi_node_args": {"NNODES": 4}})
    assert layered({"docker_env_vars": {"NNODES": "2"}, "multi_node_args": {"NNODES": 2}})[1]


def test_what_follows_from_other_values_is_left_out_and_named():
    layering, merged = layered({"docker_env_vars": {"WORLD_SIZE": "8", "RANK": "3"}})
    assert merged.get("docker_env_vars", {}) == {}
    assert [note.partition(" has")[0] for note in layering.notes] == ["layer 0: WORLD_SIZE=8", "layer 0: RANK=3"]


def test_empty_docker_gpus_is_mads_word_for_none_and_says_nothing():
    assert layered({"docker_gpus": ""})[1] == {}
    assert layered({"docker_gpus": ""}, mad=False)[1] == {"docker_gpus": ""}


@pytest.mark.parametrize(
    "values", [{OPTIONS: 3}, {"docker_env_vars": 3}, {"docker_env_vars": {}, "multi_node_args": 3}]
)
def test_values_of_a_wrong_type_are_left_to_validation(values):
    assert layered(values)[1] == values or values == {"docker_env_vars": {}, "multi_node_args": 3}


def test_a_card_says_its_fields_in_keys_of_the_context():
    said = card_layer(card(distributed={"launcher": "vllm"}, slurm={"gpus_per_node": 4}, docker_options="--cpus 1"))
    assert said.values == {"distributed": {"launcher": "vllm"}, "slurm": {"gpus_per_node": 4}, OPTIONS: "--cpus 1"}
    assert card_layer(card()).values == {}


def test_a_script_for_slurm_runs_on_the_host():
    assert card_layer(card(script="go.slurm")).values == {"runtime": "process"}
