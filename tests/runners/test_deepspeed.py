"""deepspeed without ssh, with a hostfile that says what is planned."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from madrun import runners
from madrun.runners import deepspeed
from madrun.spec.topology import Starting

HERE = Path(runners.__file__).parent
NAMES = ("CUDA_VISIBLE_DEVICES", "GROUP_RANK", "LOCAL_WORLD_SIZE", "RANK")
TELL = f"import json, os, sys; print(json.dumps([sys.executable, *map(os.environ.get, {NAMES}), sys.argv[1:]]))"


def test_the_nodes_come_from_a_file_of_this_run_and_from_no_other_place(make_topology, make_job):
    command = deepspeed.command(make_topology(), Starting(box="/madrun", args=("--bind_cores_to_rank",)))
    assert command == (
        "deepspeed --hostfile /madrun/deepspeed-hosts --no_ssh --node_rank 1 --master_addr 10.0.0.4 "
        "--master_port 29501 --no_local_rank --bind_cores_to_rank --no_python bash madrun-python"
    )
    assert deepspeed.files(make_job(nnodes=2, nproc_per_node=8)) == {
        "deepspeed-hosts": "node-0 slots=8\nnode-1 slots=8\n"
    }


def test_a_file_of_the_user_is_told_by_a_variable_and_a_cpu_is_no_guess(make_topology):
    given = Starting(box="/madrun", vendor="amd", config="/madrun/runner-config.json")
    assert deepspeed.settings(make_topology(), given) == {"DEEPSPEED_CONFIG": "/madrun/runner-config.json"}
    assert deepspeed.settings(make_topology(), Starting(box="/madrun")) == {"DS_ACCELERATOR": "cpu"}


@pytest.fixture
def start(tmp_path):
    """Starts a rank as deepspeed does, below the interpreter that runs this test."""
    (tmp_path / "bin").mkdir()
    for source, name in (("deepspeed-rank.sh", "bin/madrun-python"), ("rank.sh", "rank")):
        (tmp_path / name).write_bytes((HERE / source).read_bytes())

    def run(*words, before=b"", **env):
        (tmp_path / "environment").write_bytes(before)
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        known = {"PATH": path, "MADRUN_BOX": str(tmp_path), "RANK": "3", "NODE_RANK": "1", "LOCAL_SIZE": "2"}
        command = ["bash", "madrun-python", *words]
        return subprocess.run(command, env=known | env, cwd="/", capture_output=True, text=True, check=False)

    return run


def test_a_rank_runs_the_same_python_and_learns_what_torchrun_would_have_told_it(start):
    done = start("-c", TELL, "--lr", "a b", CUDA_VISIBLE_DEVICES="0,1")
    told = [sys.executable, "0,1", "1", "2", "3", ["--lr", "a b"]]
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[1:] == told[1:]
    assert Path(json.loads(done.stdout)[0]).samefile(sys.executable)


def test_gpus_that_were_chosen_before_stay_those_that_a_rank_sees(start):
    done = start("-c", TELL, before=b"A=1\0CUDA_VISIBLE_DEVICES=2,3\0B=2\0", CUDA_VISIBLE_DEVICES="0,1")
    assert json.loads(done.stdout)[1] == "2,3"


def test_a_module_may_be_named_as_deepspeed_and_as_python_name_it(start):
    both = [start(option, "json.tool", "--help").stdout for option in ("--module", "-m")]
    assert "json.tool" in both[0]
    assert both[0] == both[1]


def test_nothing_to_start_is_told(start):
    done = start()
    assert (done.returncode, done.stdout) == (96, "")
    assert "put the training script behind $MULTI_NODE_RUNNER" in done.stderr
