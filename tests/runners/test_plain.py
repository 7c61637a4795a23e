"""One process on each node; the ranks are the nodes' ranks."""

from madrun.runners import RUNNERS, plain
from madrun.spec.topology import Starting

BOX = Starting(box="/madrun")


def test_the_command_is_python_itself_with_the_users_words_in_front_of_the_script(make_topology):
    assert plain.command(make_topology(), BOX) == "python3"
    assert plain.command(make_topology(), Starting(box="/madrun", args=("-X", "dev"))) == "python3 -X dev"


def test_the_environment_is_what_torch_reads_with_one_rank_a_node(make_topology):
    assert plain.env(make_topology(nnodes=3, node_rank=2), BOX) == {
        "RANK": "2",
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "WORLD_SIZE": "3",
    }


def test_every_runner_is_in_the_table():
    assert set(RUNNERS) == {"torchrun", "mpirun", "accelerate", "deepspeed", "plain", "script"}
    assert RUNNERS["plain"].command is plain.command
