"""What the environment says about the run."""

import os
import sys
from pathlib import Path

from madrun.probe.environment import (
    client_env,
    dropped,
    forwarded_secrets,
    launched_by,
    process_env,
    scheduler_args,
    user_folder,
)
from madrun.spec.facts import Engine


def test_slurm_is_believed_only_inside_a_step():
    inside = {"SLURM_STEP_NUM_NODES": "2", "SLURM_NODEID": "1", "SLURM_NNODES": "4"}
    assert scheduler_args(inside) == {"NNODES": "2", "NODE_RANK": "1"}
    assert scheduler_args({"SLURM_NODEID": "0", "SLURM_NNODES": "4"}) == {}


def test_an_indexed_job_of_kubernetes_names_the_rank():
    assert scheduler_args({"JOB_COMPLETION_INDEX": "3"}) == {"NODE_RANK": "3"}


def test_a_launch_says_all_that_nodes_differ_in_and_more_than_its_scheduler():
    env = {"MADRUN_LAUNCH": "slurm:x", "MADRUN_NNODES": "2", "MADRUN_NODE_RANK": "1", "MADRUN_MASTER_ADDR": "n0"}
    env |= {"MADRUN_MASTER_PORT": "20000", "MADRUN_CONTROL_PORT": "", "SLURM_STEP_NUM_NODES": "4", "SLURM_NODEID": "3"}
    said = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "n0", "MASTER_PORT": "20000"}
    assert scheduler_args(env) == said
    assert launched_by(env) == "slurm"
    assert launched_by({"SLURM_NODEID": "3"}) == ""


def test_outside_a_scheduler_nothing_is_said():
    assert scheduler_args({"PATH": "/bin"}) == {}


def test_secrets_of_mad_are_forwarded_and_nothing_else():
    assert forwarded_secrets({"MAD_SECRETS_HFTOKEN": "x", "HF_TOKEN": "y"}) == {"MAD_SECRETS_HFTOKEN": "x"}


def test_a_process_inherits_a_short_list_without_secrets():
    env = {
        "HOME": "/home/a",
        "NCCL_DEBUG": "INFO",
        "LC_ALL": "C",
        "NVIDIA_API_KEY": "x",
        "HF_TOKEN": "y",
        "EDITOR": "vi",
        "RANK": "7",
    }
    assert set(process_env(env)) == {"HOME", "NCCL_DEBUG", "LC_ALL", "PATH"}


def test_the_interpreter_of_madrun_comes_first_in_the_path():
    assert process_env({"PATH": "/x"})["PATH"] == f"{Path(sys.executable).parent}:/x"
    assert process_env({})["PATH"].endswith(":/usr/bin:/bin")


def test_the_users_folders_follow_the_xdg_specification(tmp_path):
    assert user_folder("config", {"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "madrun"
    assert user_folder("cache", {}) == Path.home() / ".cache/madrun"
    assert user_folder("cache", {"XDG_CACHE_HOME": "relative"}) == Path.home() / ".cache/madrun"


def test_a_variable_that_is_not_utf8_is_dropped_and_named():
    wrong = os.fsdecode(b"\xff")
    env = {"HOME": wrong, "NCCL_DEBUG": "INFO", "OTHER": wrong, "PATH": f"/a:{wrong}:/b", "MAD_SECRETS_X": wrong}
    assert set(process_env(env)) == {"NCCL_DEBUG", "PATH"}
    assert process_env(env)["PATH"].endswith(":/a:/b")
    assert dropped(env) == [f"the host's variable '{name}' is left out: it is not UTF-8" for name in ("HOME", "PATH")]
    assert forwarded_secrets(env) == {}


def test_the_engines_client_is_told_the_address_of_the_engine_that_was_found():
    env = {"PATH": "/bin", "DOCKER_CONTEXT": "other", "DOCKER_HOST": "unix:///old"}
    docker, podman = (Engine(name=name, version="1", host="unix:///new") for name in ("docker", "podman"))
    assert client_env(docker, env) == {"PATH": "/bin", "DOCKER_HOST": "unix:///new"}
    assert client_env(podman, env)["CONTAINER_HOST"] == "unix:///new"
    assert client_env(None, env) == env
