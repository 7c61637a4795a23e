"""accelerate: every process that is planned, and nothing that it would guess."""

import pytest

from madrun.runners import accelerate
from madrun.spec.topology import Starting

BOX = Starting(box="/madrun", vendor="nvidia")
MEETING = "--main_process_ip 10.0.0.4 --main_process_port 29501 --rdzv_backend static --same_network"
SAID = "--mixed_precision no --dynamo_backend no --gpu_ids all"


def test_processes_are_counted_over_all_machines(make_topology):
    assert accelerate.command(make_topology(), BOX) == (
        f"accelerate launch --num_processes 4 --num_machines 2 --machine_rank 1 {MEETING} --multi_gpu {SAID}"
    )


def test_a_single_process_is_started_without_the_option_that_refuses_it(make_topology):
    one = make_topology(nnodes=1, node_rank=0, nproc_per_node=1)
    assert accelerate.command(one, BOX).endswith(f"--same_network {SAID}")
    assert accelerate.command(one, Starting(box="/madrun")).endswith(f"--same_network --cpu {SAID}")
    assert "--multi_gpu" in accelerate.command(make_topology(nproc_per_node=1), BOX)


def test_a_file_of_the_user_stands_in_place_of_what_else_is_said_for_it(make_topology):
    with_file = Starting(box="/madrun", config="/madrun/runner-config.yaml")
    command = accelerate.command(make_topology(), with_file)
    assert command.endswith("--multi_gpu --config_file /madrun/runner-config.yaml")
    assert "--mixed_precision" not in command


@pytest.mark.parametrize("word", ["--use_fsdp", "--use-fsdp", "--use_megatron_lm"])
def test_what_starts_ranks_in_its_own_way_is_not_asked_for_twice(make_topology, word):
    command = accelerate.command(make_topology(), Starting(box="/madrun", args=(word,)))
    assert command.endswith(f"{SAID} {word}")
    assert "--multi_gpu" not in command


def test_deepspeed_below_accelerate_starts_the_ranks_of_its_own_node_alone(make_topology):
    command = accelerate.command(make_topology(), Starting(box="/madrun", args=("--use_deepspeed",)))
    assert "--deepspeed_multinode_launcher standard" in command
    assert "--multi_gpu" not in command


def test_on_cpus_each_rank_is_told_so(make_topology):
    assert accelerate.settings(make_topology(), Starting(box="/madrun")) == {"ACCELERATE_USE_CPU": "true"}
    assert accelerate.settings(make_topology(), BOX) == {}
