"""A container in podman's own language: every field of the plan, and nothing that podman would add by itself."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from docker.errors import APIError, ImageNotFound
from requests.exceptions import HTTPError

from madrun.errors import EngineError
from madrun.runtimes.libpod import create, create_spec
from madrun.runtimes.spelling import docker_argv

UNLIMITED = 18446744073709551615


def test_every_field_of_the_container_is_there(container):
    spec = create_spec(container, {"HF_TOKEN": "hidden"})
    assert spec["name"] == "madrun-r-n0"
    assert spec["image"] == "img:1"
    assert (spec["entrypoint"], spec["command"]) == (["bash"], ["/madrun/driver.sh"])
    assert (spec["work_dir"], spec["user"]) == ("/madrun/work", "0")
    assert spec["env"] == {"A": "1 2", "HF_TOKEN": "hidden"}
    assert spec["labels"] == {"madrun.run": "r"}
    assert spec["mounts"] == [
        {"type": "bind", "source": "/box", "destination": "/madrun", "options": ["rbind", "rw"]},
        {"type": "bind", "source": "/a,b", "destination": "/data", "options": ["rbind", "ro"]},
    ]
    assert (spec["netns"], spec["ipcns"], spec["shm_size"]) == ({"nsmode": "host"}, {"nsmode": "private"}, 1024)
    assert spec["r_limits"] == [
        {"type": "memlock", "soft": UNLIMITED, "hard": UNLIMITED},
        {"type": "nofile", "soft": 4096, "hard": 4096},
    ]
    assert spec["devices"] == [{"path": "/dev/kfd"}, {"path": "nvidia.com/gpu=all"}]
    assert (spec["groups"], spec["cap_add"]) == (["44"], ["SYS_PTRACE"])
    assert spec["seccomp_profile_path"] == "unconfined"
    assert (spec["remove"], spec["stdin"], spec["terminal"]) == (True, True, False)
    assert spec["log_configuration"] == {"driver": "none"}


def test_gpus_and_devices_of_cdi_are_devices_by_name(container):
    chosen = replace(container, devices=(), gpus="0,GPU-1", cdi=("nvidia.com/gpu=2",))
    names = [device["path"] for device in create_spec(chosen, {})["devices"]]
    assert names == ["nvidia.com/gpu=2", "nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1"]


def test_podman_adds_neither_a_limit_of_processes_nor_proxies(container):
    spec = create_spec(replace(container, ulimits={}), {})
    assert spec["resource_limits"] == {"pids": {"limit": -1}}
    assert spec["httpproxy"] is False
    assert spec["r_limits"] is None


def test_the_callers_groups_are_kept_by_an_annotation(container):
    spec = create_spec(replace(container, groups=("keep-groups",)), {})
    assert spec["groups"] == []
    assert spec["annotations"] == {"run.oci.keep_original_groups": "1"}


def test_with_the_hosts_ipc_no_size_is_named(container):
    assert "shm_size" not in create_spec(replace(container, ipc="host"), {})


def test_security_options_have_fields_of_their_own(container):
    options = ("label=disable", "label=type:x", "apparmor=unconfined", "no-new-privileges")
    spec = create_spec(replace(container, security_opt=options), {})
    assert spec["selinux_opts"] == ["disable", "type:x"]
    assert (spec["apparmor_profile"], spec["no_new_privileges"]) == ("unconfined", True)
    with pytest.raises(EngineError, match="systempaths=unconfined"):
        create_spec(replace(container, security_opt=("systempaths=unconfined",)), {})


class FakePodman:
    base_url = "http://podman"

    def __init__(self, status, body):
        self.status, self.body, self.url = status, json.dumps(body).encode(), ""

    def post(self, url, json):
        self.url = url
        answer = SimpleNamespace(status_code=self.status, content=self.body, reason="", text=self.body.decode())
        answer.json = lambda: __import__("json").loads(self.body)

        def raise_for_status():
            if self.status >= 400:
                raise HTTPError("refused", response=answer)

        answer.raise_for_status = raise_for_status
        return answer


def test_the_id_of_the_new_container_is_given_back(container):
    podman = FakePodman(201, {"Id": "c1", "Warnings": []})
    assert create(podman, container, {}) == "c1"
    assert podman.url == "http://podman/v4.0.0/libpod/containers/create"


def test_what_podman_refuses_is_an_error_of_the_api_with_its_words(container):
    with pytest.raises(APIError) as caught:
        create(FakePodman(500, {"message": "statfs /x: no such file or directory"}), container, {})
    assert "statfs /x" in str(caught.value.explanation)
    with pytest.raises(ImageNotFound):
        create(FakePodman(404, {"message": "No such image: x"}), container, {})


def test_the_typed_words_say_the_same_of_what_podman_would_add(container):
    words = docker_argv(replace(container, program="podman", ipc="host"))
    assert words[:2] == ["podman", "run"]
    assert words[words.index("--pids-limit") + 1] == "-1"
    assert "--http-proxy=false" in words
    assert "--shm-size" not in words
    assert not {"--pids-limit", "--http-proxy=false"} & set(docker_argv(container))
