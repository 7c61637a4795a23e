"""A container in the two languages: the same words for people and for the engine, and no secret in the first."""

from dataclasses import replace

import pytest

from madrun.runtimes.spelling import docker_argv, engine_config

SECRETS = {"HF_TOKEN": "hf_very_secret"}

GOLDEN = """\
docker run --rm --interactive --name madrun-r-n0
--entrypoint bash --user 0 --workdir /madrun/work
--network host --ipc private --shm-size 1024
--log-driver none
--ulimit memlock=-1:-1
--ulimit nofile=4096:4096
--gpus all
--device /dev/kfd
--group-add 44
--cap-add SYS_PTRACE
--security-opt seccomp=unconfined
--label madrun.run=r
--mount type=bind,source=/box,target=/madrun
--mount type=bind,"source=/a,b",target=/data,readonly
--env A=1_2
--env HF_TOKEN
img:1 /madrun/driver.sh"""


def test_the_words_are_those_a_user_would_type(container):
    assert docker_argv(container) == [word.replace("1_2", "1 2") for word in GOLDEN.split()]


def test_what_is_not_asked_for_is_not_said(container):
    bare = replace(
        container, ulimits={}, gpus="", devices=(), groups=(), cap_add=(), security_opt=(), mounts=(), env={}, labels={}
    )
    words = docker_argv(bare)
    for flag in ("--ulimit", "--gpus", "--device", "--group-add", "--cap-add", "--mount", "--env", "--label"):
        assert flag not in words
    assert "DeviceRequests" not in engine_config(bare, {})["HostConfig"]


def test_a_cgroup_is_asked_for_in_both_languages_where_there_is_one(container):
    inside = replace(container, cgroup_parent="/slurm/job_7")
    words = docker_argv(inside)
    assert words[words.index("--cgroup-parent") + 1] == "/slurm/job_7"
    assert engine_config(inside, {})["HostConfig"]["CgroupParent"] == "/slurm/job_7"
    assert "--cgroup-parent" not in docker_argv(container)
    assert "CgroupParent" not in engine_config(container, {})["HostConfig"]


def test_a_secret_is_never_in_the_words_and_reaches_the_engine(container):
    assert "hf_very_secret" not in " ".join(docker_argv(container))
    assert "HF_TOKEN=hf_very_secret" in engine_config(container, SECRETS)["Env"]


def test_the_engine_is_told_the_same_as_the_words_say(container):
    config = engine_config(container, SECRETS)
    host = config["HostConfig"]
    words = docker_argv(container)

    def said(flag):
        return [words[index + 1] for index, word in enumerate(words) if word == flag]

    assert said("--entrypoint") + words[-1:] == config["Entrypoint"] + config["Cmd"]
    assert (said("--user"), said("--workdir")) == ([config["User"]], [config["WorkingDir"]])
    assert (said("--network"), said("--ipc")) == ([host["NetworkMode"]], [host["IpcMode"]])
    assert said("--shm-size") == [str(host["ShmSize"])]
    assert said("--log-driver") == [host["LogConfig"]["Type"]]
    assert said("--ulimit") == [f"{limit['Name']}={limit['Soft']}:{limit['Hard']}" for limit in host["Ulimits"]]
    assert said("--device") == [device["PathOnHost"] for device in host["Devices"]]
    assert all(device["PathInContainer"] == device["PathOnHost"] for device in host["Devices"])
    assert (said("--group-add"), said("--cap-add")) == (host["GroupAdd"], host["CapAdd"])
    assert said("--security-opt") == host["SecurityOpt"]
    assert said("--label") == [f"{name}={value}" for name, value in config["Labels"].items()]
    assert [text.partition("=")[0] for text in said("--env")] == [text.partition("=")[0] for text in config["Env"]]
    assert words[-2] == config["Image"]


def test_mounts_are_the_same_in_both_languages(container):
    assert engine_config(container, SECRETS)["HostConfig"]["Mounts"] == [
        {"Type": "bind", "Source": "/box", "Target": "/madrun", "ReadOnly": False},
        {"Type": "bind", "Source": "/a,b", "Target": "/data", "ReadOnly": True},
    ]


def test_the_container_removes_itself_and_lives_on_its_input(container):
    config = engine_config(container, SECRETS)
    assert config["HostConfig"]["AutoRemove"]
    assert config["OpenStdin"]
    assert config["StdinOnce"]
    assert not config["Tty"]
    assert {"--rm", "--interactive"} <= set(docker_argv(container))


@pytest.mark.parametrize("entrypoint", [("bash",), ("bash", "-x"), ("/usr/bin/env", "bash", "-e")])
def test_a_long_entrypoint_is_split_as_the_command_line_demands(container, entrypoint):
    changed = replace(container, entrypoint=entrypoint)
    words = docker_argv(changed)
    place = words.index(changed.image)
    assert words[words.index("--entrypoint") + 1] == entrypoint[0]
    assert words[place + 1 :] == [*entrypoint[1:], "/madrun/driver.sh"]
    assert engine_config(changed, SECRETS)["Entrypoint"] == list(entrypoint)


def test_all_gpus_are_requested_from_the_engine(container):
    (request,) = engine_config(container, SECRETS)["HostConfig"]["DeviceRequests"]
    assert request == {"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}


def test_some_gpus_are_one_field_of_a_csv_line_and_ids_for_the_engine(container):
    some = replace(container, gpus="0,MIG-1")
    words = docker_argv(some)
    assert words[words.index("--gpus") + 1] == '"device=0,MIG-1"'
    assert engine_config(some, {})["HostConfig"]["DeviceRequests"] == [
        {"Driver": "", "Capabilities": [["gpu"]], "DeviceIDs": ["0", "MIG-1"]}
    ]


def test_cdi_devices_are_devices_in_words_and_a_request_to_the_engine(container):
    by_cdi = replace(container, program="podman", gpus="", cdi=("nvidia.com/gpu=0",))
    words = docker_argv(by_cdi)
    assert words[:2] == ["podman", "run"]
    assert "--gpus" not in words
    assert "nvidia.com/gpu=0" in words
    assert engine_config(by_cdi, {})["HostConfig"]["DeviceRequests"] == [
        {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0"]}
    ]
