import pytest

from madrun.doctor.asked import Asked
from madrun.doctor.rules import software
from madrun.spec.facts import Accelerator, Gpu
from madrun.spec.health import Disk, EngineState, HostName, Space

ROOM = Disk(name="docker's files", path="/var/lib/docker", space=Space(total=100 << 30, free=50 << 30))
DOCKER = EngineState(name="docker", version="27.1", storage="overlay2", cgroup="cgroup v2 by systemd", disk=ROOM)
NVIDIA = Accelerator(vendor="nvidia", gpus=(Gpu(index=0),))


def engine_with(make_facts, accelerator=Accelerator(), **changes):  # noqa: B008 - frozen
    from dataclasses import replace

    found = software.engine(replace(DOCKER, **changes), make_facts(accelerator=accelerator), Asked())
    return {finding.name: finding for finding in found}


def test_an_engine_is_told_with_its_version_and_storage(make_facts):
    found = engine_with(make_facts)
    assert found["engine"].text == "docker 27.1, overlay2, cgroup v2 by systemd"
    assert {finding.state for finding in found.values()} == {"PASS"}


def test_no_engine_is_a_failure_where_the_run_needs_one(make_facts):
    found = software.no_engine(make_facts(engine_absent="no docker engine answers at unix:///var/run/docker.sock"))
    assert (found.state, "docker.sock" in found.text) == ("FAIL", True)


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"storage": "vfs"}, "WARN", "vfs"),
        ({"warnings": ("WARNING: No memory limit support",)}, "WARN", "No memory limit support"),
        ({"warnings": ("WARNING: No swap limit support",)}, "PASS", "docker"),
    ],
)
def test_what_an_engine_warns_of_is_told_where_it_matters(make_facts, changes, state, words):
    found = engine_with(make_facts, **changes)["engine"]
    assert (found.state, words in found.text) == (state, True)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "FAIL"),
        ({"runtimes": ("nvidia", "runc")}, "PASS"),
        ({"cdi": ("nvidia.com/gpu=0", "nvidia.com/gpu=all")}, "PASS"),
        ({"cdi": ("vendor.com/net=0",)}, "FAIL"),
    ],
)
def test_containers_need_a_way_to_nvidia_gpus(make_facts, changes, state):
    assert engine_with(make_facts, NVIDIA, **changes)["engine and GPUs"].state == state


def test_an_engines_disk_that_cannot_be_seen_is_unknown(make_facts):
    found = engine_with(make_facts, disk=None, unread="the engine is of another host")["engine's disk"]
    assert (found.state, found.text) == ("UNKNOWN", "the engine is of another host")


@pytest.mark.parametrize(
    ("free", "writable", "state"),
    [(50 << 30, True, "PASS"), (1 << 29, True, "WARN"), (0, True, "FAIL"), (50 << 30, False, "FAIL")],
)
def test_space_is_told_by_how_much_is_left(make_facts, free, writable, state):
    disk = Disk(name="results", path="/r", space=Space(total=100 << 30, free=free), writable=writable)
    (found,) = software.disks((ROOM, disk), make_facts(), Asked())
    assert found.state == state
    assert "results (/r)" in found.text
    assert ("docker's files" in found.text) == (state == "PASS")


@pytest.mark.parametrize(
    ("addresses", "nnodes", "state", "words"),
    [
        (("10.0.0.5",), 2, "PASS", "alpha means 10.0.0.5"),
        (("127.0.1.1",), 2, "WARN", "alpha means 127.0.1.1 (/etc/hosts:2), which no other host reaches"),
        (("10.0.0.5", "::1"), 2, "WARN", "no other host reaches"),
        (("127.0.1.1",), 1, "PASS", "of no matter on one node"),
        ((), 2, "WARN", "means nothing here"),
        (("10.9.9.9",), 2, "WARN", "no address of this host"),
    ],
)
def test_the_name_of_a_host_is_to_be_an_address_that_others_reach(make_facts, addresses, nnodes, state, words):
    name = HostName(name="alpha", addresses=addresses, line="/etc/hosts:2")
    (found,) = software.host_name(name, make_facts(), Asked(nnodes=nnodes))
    assert (found.state, words in found.text) == (state, True), found
    assert ("10.0.0.5" in found.advice) == (state == "WARN")
