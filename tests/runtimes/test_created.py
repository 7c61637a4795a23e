"""A container made by the engine's client: secrets are no words, and what options broke is not started.

The client is a script here; the real one is the business of the tests with docker.
"""

import os
from dataclasses import replace

import pytest

from madrun.errors import EngineError
from madrun.runtimes import created
from madrun.runtimes.docker import create as create_any
from madrun.runtimes.libpod import create_spec
from madrun.runtimes.spelling import docker_argv, engine_config

ID = "a" * 64


class Engine:
    """Knows one container, as the client would have made it; `changes` is what options did to it."""

    base_url = "http+docker://localhost"

    def __init__(self, container, **changes):
        self.removed = []
        config = {
            "Labels": dict(container.labels),
            "Image": container.image,
            "Cmd": list(container.command),
            "OpenStdin": True,
            "Tty": False,
        }
        self.seen = {
            "Name": f"/{container.name}",
            "Image": "sha256:1",
            "Config": config | changes,
            "HostConfig": {"AutoRemove": True},
        }

    def inspect_container(self, name):
        return self.seen

    def remove_container(self, name, force, v):
        self.removed.append(name)


@pytest.fixture
def client(tmp_path):
    """Puts a `docker` on PATH that does this, and returns where it writes its words and variables."""

    def make(text=f"echo {ID}"):
        program = tmp_path / "docker"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/words\nenv >{tmp_path}/env\n{text}\n')
        program.chmod(0o755)
        return tmp_path, {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKER_HOST": "unix:///x"}

    return make


@pytest.fixture
def optioned(container):
    return replace(container, options=("--init", "--label", "a b"))


def test_the_words_are_those_of_the_plan_with_the_options_before_the_image(client, optioned):
    place, env = client()
    assert create_any(Engine(optioned), optioned, {"HF_TOKEN": "hf_very_secret"}, env) == ID
    words = (place / "words").read_text().splitlines()
    assert words[:2] == ["create", "--rm"]
    assert words == ["create", *docker_argv(optioned)[2:]]
    assert words[words.index("--init") :] == ["--init", "--label", "a b", "img:1", "/madrun/driver.sh"]


def test_a_secret_reaches_the_client_as_a_variable_and_never_as_a_word(client, optioned):
    place, env = client()
    created.create(Engine(optioned), optioned, {"HF_TOKEN": "hf_very_secret"}, env)
    assert "hf_very_secret" not in (place / "words").read_text()
    said = (place / "env").read_text().splitlines()
    assert {"HF_TOKEN=hf_very_secret", "DOCKER_HOST=unix:///x"} <= set(said)


def test_without_options_the_client_is_not_needed(container):
    class Api:
        def create_container_from_config(self, config, name):
            return {"Id": "x"}

    assert create_any(Api(), container, {}) == "x"


def test_a_missing_client_is_named_with_what_can_be_used_in_its_place(optioned):
    with pytest.raises(EngineError, match="need the docker command, which is not on PATH; install it, or"):
        created.create(Engine(optioned), optioned, {}, {"PATH": "/nowhere"})


def test_the_clients_words_are_the_error(client, optioned):
    _, env = client("echo 'unknown flag: --nonsense' >&2; exit 125")
    with pytest.raises(EngineError, match="--init --label a b.*unknown flag: --nonsense"):
        created.create(Engine(optioned), optioned, {}, env)


def test_what_is_no_id_is_an_error(client, optioned):
    _, env = client("echo 'Usage: docker create'")
    with pytest.raises(EngineError, match="Usage: docker create"):
        created.create(Engine(optioned), optioned, {}, env)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"Image": "other"}, "the image"),
        ({"Labels": {}}, "its labels"),
        ({"Cmd": ["img:1", "x"]}, "the driver"),
        ({"Tty": True}, "its input"),
    ],
)
def test_a_container_that_the_options_made_another_is_removed_and_never_started(client, optioned, changes, what):
    _, env = client()
    engine = Engine(optioned, **changes)
    with pytest.raises(EngineError, match=f"change {what} of the container"):
        created.create(engine, optioned, {}, env)
    assert engine.removed == [ID]


def test_cpus_are_said_in_every_language(container):
    some = replace(container, cpus="0-3")
    words = docker_argv(some)
    assert words[words.index("--cpuset-cpus") + 1] == "0-3"
    assert engine_config(some, {})["HostConfig"]["CpusetCpus"] == "0-3"
    assert create_spec(some, {})["resource_limits"]["cpu"] == {"cpus": "0-3"}
    assert "CpusetCpus" not in engine_config(container, {})["HostConfig"]
