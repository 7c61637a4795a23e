"""torchrun with static rendezvous, and its elastic form."""

import subprocess

from madrun.runners import RUNNERS, torchrun
from madrun.spec.topology import Starting

BOX = Starting(box="/madrun")


def test_the_command_names_every_part_of_the_topology(make_topology):
    assert torchrun.command(make_topology(), BOX) == (
        "torchrun --nnodes 2 --node_rank 1 --nproc_per_node 2 --master_addr 10.0.0.4 --master_port 29501"
    )


def test_the_rendezvous_is_the_static_one_that_honours_the_node_rank(make_topology):
    assert "rdzv" not in torchrun.command(make_topology(), BOX)


def test_a_range_of_nodes_meets_by_c10d_at_the_same_place_and_node_zero_alone_is_its_host(make_topology):
    elastic = Starting(box="/madrun", elastic="1:2", args=("--max_restarts", "3"))
    assert torchrun.command(make_topology(), elastic) == (
        "torchrun --nnodes 1:2 --nproc_per_node 2 --rdzv_backend c10d --rdzv_id madrun "
        "--rdzv_endpoint 10.0.0.4:29501 --rdzv_conf is_host=false --max_restarts 3"
    )
    first = torchrun.command(make_topology(node_rank=0, master_addr="fd00::4"), elastic)
    assert "--rdzv_endpoint [fd00::4]:29501 --rdzv_conf is_host=true" in first


def test_in_a_range_of_nodes_each_has_an_address_of_its_own_by_which_it_is_told_from_the_others(make_topology):
    elastic = Starting(box="/madrun", elastic="1:2")
    assert torchrun.command(make_topology(address="10.0.0.5"), elastic).endswith(" --local_addr 10.0.0.5")
    loopback = [torchrun.command(make_topology(node_rank=rank, address="127.0.0.1"), elastic) for rank in range(2)]
    assert [words.rpartition(" ")[2] for words in loopback] == ["127.0.0.1", "127.0.0.2"]


def test_the_text_survives_plain_expansion_and_eval_alike(make_topology):
    script = 'torchrun() { printf "%s|" "$@"; }; $R train.py; echo; eval "$R train.py"'
    env = {"R": torchrun.command(make_topology(), BOX), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True)
    plain, evaluated = done.stdout.splitlines()
    assert plain == evaluated
    assert plain.split("|")[:2] == ["--nnodes", "2"]
    assert "train.py" in plain


def test_torchrun_sets_the_ranks_itself(make_topology):
    assert RUNNERS["torchrun"].env(make_topology(), BOX) == {}
