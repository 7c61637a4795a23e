import pytest

from madrun.doctor.asked import Asked
from madrun.doctor.rules import limits
from madrun.spec.facts import Engine
from madrun.spec.health import ControlGroup, Limit, Limits, Space

HOST = Space(total=64 << 30, free=60 << 30)
FREE = Limit(soft=None, hard=None)
UVERBS = ("/dev/infiniband/uverbs0",)


def limits_with(**changes):
    return Limits(**({"locked": FREE, "stack": FREE, "files": FREE, "processes": FREE} | changes))


@pytest.mark.parametrize(
    ("size", "ranks", "state"),
    [(8 << 20, 1, "FAIL"), (64 << 20, 2, "WARN"), (79 << 20, 8, "FAIL"), (512 << 20, 8, "WARN"), (1 << 30, 8, "PASS")],
)
def test_shared_memory_of_the_container_is_judged_by_its_size_and_the_ranks(make_facts, size, ranks, state):
    (found,) = limits.shared_memory(HOST, make_facts(), Asked(shm_size=size, nproc_per_node=ranks))
    assert found.state == state
    assert "the container gets" in found.text


def test_more_shared_memory_than_the_host_has_memory_is_told(make_facts):
    (found,) = limits.shared_memory(HOST, make_facts(memory=8 << 30), Asked(shm_size=9 << 30))
    assert (found.state, "more than the host's 8 GiB" in found.text) == ("WARN", True)


def test_what_a_container_gets_without_a_plan_is_not_known(make_facts):
    (found,) = limits.shared_memory(HOST, make_facts(), Asked(is_planned=False))
    assert (found.state, "no plan says" in found.text) == ("UNKNOWN", True)
    (found,) = limits.shared_memory(HOST, make_facts(), Asked(is_planned=False, in_container=False))
    assert found.state == "PASS"


@pytest.mark.parametrize("asked", [Asked(in_container=False), Asked(in_container=True, shm_size=None)])
def test_where_the_job_gets_the_hosts_shared_memory_what_is_free_counts(make_facts, asked):
    (found,) = limits.shared_memory(Space(total=64 << 30, free=1 << 20), make_facts(), asked)
    assert found.state == "FAIL"
    assert "1 MiB free" in found.text.replace("1.00", "1")


@pytest.mark.parametrize(
    ("soft", "devices", "transport", "state"),
    [
        (8 << 20, (), "auto", "PASS"),
        (8 << 20, ("/dev/infiniband/rdma_cm",), "auto", "PASS"),
        (8 << 20, UVERBS, "auto", "FAIL"),
        (8 << 20, UVERBS, "sockets", "WARN"),
        (64 << 20, UVERBS, "rdma", "WARN"),  # little, but what a run accepts
        (None, UVERBS, "rdma", "PASS"),
    ],
)
def test_locked_memory_of_a_shell_matters_where_there_is_rdma(make_facts, soft, devices, transport, state):
    asked = Asked(in_container=False, transport=transport)
    read = limits_with(locked=Limit(soft=soft, hard=soft))
    assert limits.of_shell(read, make_facts(infiniband=devices), asked)[0].state == state
    assert limits.of_shell(read, make_facts(infiniband=devices, uid=0), asked)[0].state == "PASS"


@pytest.mark.parametrize(
    ("can_raise", "memlock", "state"),
    [(True, 8 << 20, "PASS"), (False, 8 << 20, "FAIL"), (False, None, "PASS"), (None, 8 << 20, "UNKNOWN")],
)
def test_locked_memory_of_a_container_is_what_its_engine_may_give(make_facts, can_raise, memlock, state):
    engine = Engine(name="docker", version="27", can_raise_limits=can_raise, memlock=memlock)
    facts = make_facts(engine=engine, infiniband=UVERBS)
    found = limits.of_shell(limits_with(locked=Limit(soft=1, hard=1)), facts, Asked())
    assert [(one.name, one.state) for one in found] == [("locked memory", state)]  # of the shell nothing counts


def test_small_limits_of_a_shell_are_told_with_the_command_that_raises_them(make_facts):
    few = Limit(soft=1024, hard=524288)
    read = limits_with(files=few, processes=few, stack=Limit(soft=1 << 20, hard=None))
    found = {one.name: one for one in limits.of_shell(read, make_facts(), Asked(in_container=False))}
    assert {name: one.state for name, one in found.items() if name != "locked memory"} == {
        "open files": "WARN",
        "processes": "WARN",
        "stack": "WARN",
    }
    assert found["open files"].advice.startswith("ulimit -n 65536 ")
    root = {one.name: one for one in limits.of_shell(read, make_facts(uid=0), Asked(in_container=False))}
    assert root["processes"].state == "PASS"  # root is not held by it


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (ControlGroup(memory=4 << 30), "memory at most 4 GiB of the host's 8 GiB"),
        (ControlGroup(pids=500), "at most 500 processes"),
        (ControlGroup(cpus=1.5), "at most 1.5 of 2 CPUs"),
    ],
)
def test_a_tight_control_group_is_told(make_facts, group, words):
    (found,) = limits.control_group(group, make_facts(), Asked(in_container=False))
    assert found.state == "WARN"
    assert words in found.text.replace("4.00", "4").replace("8.00", "8")


def test_a_control_group_as_large_as_the_host_is_none(make_facts):
    (found,) = limits.control_group(ControlGroup(memory=8 << 30, pids=100_000, cpus=2.0), make_facts(), Asked())
    assert found.state == "PASS"
