"""torchrun with static rendezvous."""

import subprocess

from madrun.runners import torchrun


def test_the_command_names_every_part_of_the_topology(make_topology):
    assert torchrun.command(make_topology()) == (
        "torchrun --nnodes 2 --node_rank 1 --nproc_per_node 2 --master_addr 10.0.0.4 --master_port 29501"
    )


def test_the_rendezvous_is_the_static_one_that_honours_the_node_rank(make_topology):
    assert "rdzv" not in torchrun.command(make_topology())


def test_the_text_survives_plain_expansion_and_eval_alike(make_topology):
    script = 'torchrun() { printf "%s|" "$@"; }; $R train.py; echo; eval "$R train.py"'
    env = {"R": torchrun.command(make_topology()), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True)
    plain, evaluated = done.stdout.splitlines()
    assert plain == evaluated
    assert plain.split("|")[:2] == ["--nnodes", "2"]
    assert "train.py" in plain


def test_torchrun_sets_the_ranks_itself(make_topology):
    assert torchrun.env(make_topology()) == {}
