"""The order of a container's life and its exit code, with an engine that only notes what it is asked.

Containers themselves are the business of the docker and podman tests.
"""

import socket
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from docker.errors import APIError, NotFound
from requests.exceptions import ConnectionError

from madrun.errors import EngineError
from madrun.runtimes import docker as runtime
from madrun.runtimes.docker import DockerBox


class FakeEngine:
    """`codes` are the answers to wait by condition; `refusals` the errors of the first starts."""

    def __init__(self, codes, refusals=()):
        self.codes, self.refusals, self.asked = codes, list(refusals), []

    def create_container_from_config(self, config, name):
        self.asked.append("create")
        return {"Id": "c1"}

    def attach_socket(self, container, params):
        self.asked.append("attach")
        ours, self.theirs = socket.socketpair()
        return ours

    def wait(self, container, timeout, condition):
        self.asked.append(f"wait {condition}")
        code = self.codes[condition]
        if isinstance(code, Exception):
            raise code
        return {"StatusCode": code}

    def start(self, container):
        self.asked.append("start")
        self.theirs.close()
        if self.refusals:
            raise APIError("refused", explanation=self.refusals.pop(0))

    def inspect_container(self, container):
        return {"Image": "sha256:1", "HostConfig": {"CapAdd": ["SYS_PTRACE"]}}

    def remove_container(self, container, force, v):
        self.asked.append("remove")


@pytest.fixture
def podman(container, monkeypatch):
    monkeypatch.setattr(runtime.libpod, "create", lambda client, container, secrets: "c1")
    return replace(container, program="podman")


def run(engine, container):
    box = DockerBox(engine, container, {}, lambda data: None)
    deadline = time.monotonic() + 60
    while (code := box.wait(0.1)) is None:
        assert time.monotonic() < deadline
    return box, code


def test_docker_gives_the_exit_code_with_the_removal(container):
    engine = FakeEngine({"removed": 5})
    box, code = run(engine, container)
    assert (code, box.image_id, box.deviations) == (5, "sha256:1", ())
    assert engine.asked[:2] == ["create", "attach"]
    assert sorted(engine.asked[2:]) == ["start", "wait removed"]


def test_podman_gives_the_exit_code_only_before_the_removal(podman):
    engine = FakeEngine({"next-exit": 5, "removed": 0})
    assert run(engine, podman)[1] == 5
    assert [word for word in engine.asked if word.startswith("wait")] == ["wait next-exit", "wait removed"]


def test_a_container_that_is_gone_before_podman_is_asked_about_the_removal_keeps_its_code(podman):
    assert run(FakeEngine({"next-exit": 7, "removed": NotFound("gone")}), podman)[1] == 7


def test_an_exit_code_that_cannot_be_had_is_never_0(podman, container):
    assert run(FakeEngine({"next-exit": APIError("no events"), "removed": 0}), podman)[1] == -1
    assert run(FakeEngine({"removed": APIError("gone")}), container)[1] == -1


def test_what_may_be_left_out_is_left_out_one_by_one(container):
    refusals = ["error setting rlimit type 8: no", "error setting rlimit type 7: no", "unable to apply caps: no"]
    engine = FakeEngine({"removed": 0}, refusals)
    box, _ = run(engine, container)
    assert [line.split()[0] for line in box.deviations] == ["memlock", "nofile", "SYS_PTRACE"]
    assert engine.asked.count("create") == 4
    assert engine.asked.count("remove") == 3


def test_what_may_not_is_an_error_and_leaves_no_container(container):
    engine = FakeEngine({"removed": 0}, ["could not select device driver"])
    with pytest.raises(EngineError, match="container toolkit"):
        run(engine, container)
    assert engine.asked[-1] == "remove"


def test_an_engine_that_breaks_off_is_waited_for_until_it_knows_the_container_no_more(container, monkeypatch):
    monkeypatch.setattr(runtime, "_AGAIN_S", 0.01)
    engine = FakeEngine({})
    seen = engine.inspect_container("c1")
    answers, started = [seen, ConnectionError("refused"), NotFound("gone")], threading.Event()

    def inspect(name):
        started.set()
        return raised(answers.pop(0))

    def wait(*_, **__):
        assert started.wait(60)
        raise ConnectionError("broke")

    monkeypatch.setattr(engine, "inspect_container", inspect)
    monkeypatch.setattr(engine, "wait", wait)
    assert run(engine, container)[1] == -1
    assert not answers


def raised(answer):
    if isinstance(answer, Exception):
        raise answer
    return answer


def test_an_engine_that_goes_away_while_a_container_starts_is_no_defect_of_madrun(container, monkeypatch):
    engine = FakeEngine({"removed": 0})
    monkeypatch.setattr(engine, "inspect_container", lambda name: raised(ConnectionError("refused")))
    with pytest.raises(EngineError, match="the container engine has gone, or does not answer"):
        run(engine, container)
    assert engine.asked[-1] == "remove"


def test_a_box_whose_engine_hangs_is_ended_without_it(container, monkeypatch):
    monkeypatch.setattr(runtime, "_REMOVAL_S", 0.05)
    hanging = threading.Event()
    engine = FakeEngine({"removed": 0})
    monkeypatch.setattr(engine, "wait", lambda *_, **__: hanging.wait(60) and {"StatusCode": 0})
    monkeypatch.setattr(engine, "remove_container", lambda *_, **__: hanging.wait(60))
    box = DockerBox(engine, container, {}, lambda data: None)
    ended = []
    box._process = SimpleNamespace(kill=lambda: ended.append(True), lives=False)
    box.kill()
    assert ended == [True]
    assert box.wait(0.1) is not None
    hanging.set()
