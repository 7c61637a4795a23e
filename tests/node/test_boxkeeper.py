"""One box is kept: lease, steps, time limit, end. The box is a fake."""

import threading
import time
from contextlib import suppress

import pytest

from madrun.node import boxkeeper
from madrun.node.boxkeeper import BoxKeeper
from madrun.node.channel.link import Aborted, SoloLink
from madrun.node.task import Interrupt, Stopped
from madrun.node.workspace import Workspace
from madrun.spec.record import Failure


class FakeBox:
    """A driver as the keeper sees it: `answers` maps a line to the steps it leads to; `ends_on` ends it."""

    image_id = ""
    deviations = ()
    trouble = ""

    def __init__(self, steps, answers, ends_on):
        self.steps, self.answers, self.ends_on = steps, answers, ends_on
        self.lines = []
        self.code = None
        self.killed = False

    def report(self, *names):
        with self.steps.open("a") as file:
            file.writelines(f"1 {name}\n" for name in names)

    def send(self, line):
        self.lines.append(line)
        word = line.partition(" ")[0]
        self.report(*self.answers.get(word, ()))
        if word in self.ends_on:
            self.code = 0

    def wait(self, timeout_s):
        if self.code is None and timeout_s:
            time.sleep(min(timeout_s, 0.01))
        return self.code

    def ask(self):
        return self.trouble

    def kill(self):
        self.killed = True
        self.code = 137


@pytest.fixture
def keep(tmp_path, make_job, monkeypatch):
    monkeypatch.setattr(boxkeeper, "HEARTBEAT_S", 0.02)
    kept = []

    def start(answers=None, ends_on=("bye", "stop"), link=None, interrupt=None, **job):
        space = Workspace(tmp_path)
        space.box.mkdir()
        (space.box / "steps").touch()
        answers = {"go": ["begin", "exit 0"], "bye": ["end 0"], "stop": ["stop", "end 143"]} | (answers or {})
        box = FakeBox(space.box / "steps", answers, ends_on)
        watched = (link or SoloLink({}), interrupt or Interrupt(), 0)
        kept.append(BoxKeeper(box, space, make_job(**job), watched))
        return kept[-1], box

    try:
        yield start
    finally:
        for keeper in kept:
            keeper.box.code = 0
            with suppress(ValueError):  # the test has ended it
                keeper.end(by_itself=True)


INSIDE = "inside wanted=mlx5 nofile=512 memlock=64 shm=64m device=uverbs0 library=libibverbs.so.1 provider=mlx5 said="


def test_a_container_that_cannot_pin_memory_is_not_started_where_rdma_was_asked_for(keep):
    keeper, box = keep(transport="rdma", runtime="docker")
    box.report("driver 5.2", INSIDE, "ready")
    with pytest.raises(Stopped) as stopped:
        keeper.await_ready()
    assert stopped.value.failure.kind == "rdma"
    assert "TRANSPORT rdma, and in the container on node 0: ulimit -l is 64 KiB" in stopped.value.failure.text


@pytest.mark.parametrize(
    ("transport", "memlock", "words"),
    [("auto", "64", "ulimit -l is 64 KiB"), ("rdma", "unlimited", "memlock unlimited, nofile 512, /dev/shm 64")],
)
def test_what_rdma_finds_in_a_container_is_a_note_where_nothing_stands_against_it(keep, transport, memlock, words):
    keeper, box = keep(transport=transport, runtime="docker")
    box.report("driver 5.2", INSIDE.replace("memlock=64 ", f"memlock={memlock} "), "ready")
    (note,) = keeper.await_ready()
    assert note.startswith(f"RDMA in the container on node 0: {words}")


def test_a_container_without_its_gpus_is_not_started(keep):
    keeper, box = keep()
    box.report("driver 5.2", "missing  /dev/nvidia0 /dev/nvidia1", "ready")
    with pytest.raises(Stopped, match="missing or may not be opened: /dev/nvidia0 /dev/nvidia1; the engine") as raised:
        keeper.await_ready()
    assert raised.value.failure.kind == "engine"
    assert "go" not in box.lines


def test_a_script_is_started_once_ready_and_its_exit_code_comes_back(keep):
    keeper, box = keep({"go": ["begin", "exit 3"]})
    box.report("driver 5.2", "ready")
    keeper.await_ready()
    assert keeper.run_script() == 3
    assert keeper.end(by_itself=True) == []
    assert [line for line in box.lines if line != "."] == ["go", "bye"]
    assert "end" in keeper.steps.seen
    assert keeper.exit_code() == 3


def test_the_lease_is_renewed_until_the_end_and_no_longer(keep):
    keeper, box = keep()
    deadline = time.monotonic() + 60
    while box.lines.count(".") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    keeper.end(by_itself=True)
    count = len(box.lines)
    time.sleep(0.15)
    assert len(box.lines) <= count + 1  # one may have been under way


def test_a_driver_that_says_nothing_is_a_failure_of_the_engine(keep, monkeypatch):
    monkeypatch.setattr(boxkeeper, "_READY_TIMEOUT_S", 0.05)
    keeper, _ = keep()
    with pytest.raises(Stopped, match="did not report") as caught:
        keeper.await_ready()
    assert caught.value.failure.kind == "engine"


def test_a_driver_that_ends_too_early_is_a_failure_with_its_code(keep):
    keeper, box = keep()
    box.code = 97
    with pytest.raises(Stopped, match="the driver ended with code 97"):
        keeper.await_ready()


def test_a_script_whose_shell_died_ends_with_the_drivers_word(keep):
    keeper, _ = keep({"go": ["begin", "gone 137"]})
    assert keeper.run_script() == 137


def test_the_time_limit_ends_the_script_and_is_named(keep):
    keeper, _ = keep({"go": ["begin"]}, timeout_s=0.05)
    with pytest.raises(Stopped, match=r"longer than its time limit of 0.05 s on node 0") as caught:
        keeper.run_script()
    assert caught.value.failure.kind == "timeout"


def test_a_time_limit_of_zero_is_none(keep):
    keeper, box = keep({"go": ["begin"]}, timeout_s=0.0)
    began = time.monotonic()
    threading.Timer(0.2, box.report, ["exit 0"]).start()
    assert keeper.run_script() == 0
    assert time.monotonic() - began >= 0.2


def test_an_interrupt_ends_the_script_and_is_named(keep):
    interrupt = Interrupt()
    keeper, _ = keep({"go": ["begin"]}, interrupt=interrupt)
    interrupt.set("interrupted by SIGINT")
    with pytest.raises(Stopped, match="interrupted by SIGINT on node 0") as caught:
        keeper.run_script()
    assert caught.value.failure.kind == "interrupted"


def test_a_failure_of_another_node_ends_the_script_here(keep):
    link = SoloLink({})
    keeper, _ = keep({"go": ["begin"]}, link=link)
    link.fail(Failure(kind="script error", text="exit code 3 on node 1", node=1))
    with pytest.raises(Aborted, match="exit code 3 on node 1"):
        keeper.run_script()


def test_a_script_that_is_stopped_has_no_exit_code_of_its_own(keep):
    keeper, box = keep({"go": ["begin"], "stop": ["stop", "exit 0", "end 143"]}, timeout_s=0.02, grace_s=7.5)
    with pytest.raises(Stopped):
        keeper.run_script()
    assert keeper.end(by_itself=False) == []
    assert box.lines[-1] == "stop 75"
    assert keeper.exit_code() is None


def test_the_grace_is_short_when_a_node_was_lost(keep):
    link = SoloLink({})
    keeper, box = keep(link=link, grace_s=30.0)
    link.fail(Failure(kind="node lost", text="node 1 was lost", node=1))
    keeper.end(by_itself=False)
    assert box.lines[-1] == "stop 20"


def test_a_second_signal_does_not_wait_for_the_grace(keep):
    interrupt = Interrupt()
    keeper, box = keep(ends_on=(), interrupt=interrupt, grace_s=600.0)
    interrupt.set("interrupted by SIGINT")
    interrupt.set("interrupted by SIGINT")
    threading.Timer(0.1, interrupt.set, ["interrupted by SIGINT"]).start()
    began = time.monotonic()
    keeper.end(by_itself=False)
    assert box.killed
    assert time.monotonic() - began < 60


@pytest.mark.e2e
def test_a_box_that_does_not_end_is_killed_after_the_grace_and_a_finding_if_that_fails(keep, monkeypatch):
    monkeypatch.setattr(boxkeeper, "_KILL_S", 0.02)
    keeper, box = keep(ends_on=(), grace_s=0.0)
    killed = []
    monkeypatch.setattr(box, "kill", lambda: killed.append(time.monotonic()))
    began = time.monotonic()
    (finding,) = keeper.end(by_itself=False)
    assert "could not be ended" in finding
    assert killed[0] - began > 0.1


@pytest.mark.parametrize(("by_itself", "line"), [(True, "stay"), (False, "stay 10")])
def test_a_box_that_stays_has_told_of_its_scripts_end(keep, by_itself, line):
    keeper, box = keep({"stay": ["end 0"]})
    assert keeper.stay(by_itself)
    assert line in box.lines
    assert box.code is None
    assert keeper.end(by_itself=True) == []


def test_a_box_stays_also_after_another_nodes_failure(keep):
    link = SoloLink({})
    link.fail(Failure(kind="script error", text="x", node=1))
    keeper, _ = keep({"stay": ["end 0"]}, link=link)
    assert keeper.stay(by_itself=False)
    keeper.end(by_itself=True)


def test_a_box_that_has_gone_does_not_stay(keep):
    keeper, box = keep()
    box.code = 98
    assert not keeper.stay(by_itself=True)


def test_a_paused_container_ends_the_run_and_is_removed_without_a_word_to_it(keep):
    keeper, box = keep({"go": ["begin"]}, grace_s=600.0)
    threading.Timer(0.05, setattr, [box, "trouble", "paused"]).start()
    with pytest.raises(Stopped, match="on node 0 was paused from outside") as caught:
        keeper.run_script()
    assert caught.value.failure.kind == "paused"
    box.ends_on = ()
    began = time.monotonic()
    assert keeper.end(by_itself=False) == []
    assert box.killed
    assert time.monotonic() - began < 60


def test_an_engine_that_goes_away_ends_the_run(keep):
    keeper, box = keep({"go": ["begin"]})
    box.trouble = "engine"
    with pytest.raises(Stopped, match="the container engine on node 0 has gone") as caught:
        keeper.run_script()
    assert caught.value.failure.kind == "engine"


@pytest.mark.parametrize("last", [(), ("gone 137",), ("exit 143",)])
@pytest.mark.parametrize(
    ("word", "trouble", "kind", "said"),
    [
        ("signal", "", "node", "stopped from outside on node 0"),
        ("signal", "engine", "engine", "the container engine on node 0 has gone"),
        ("lease", "", "node", "the lease ended on node 0: madrun was stopped, or starved"),
    ],
)
def test_what_ended_the_driver_is_named_and_not_the_script_that_it_took_along(keep, word, trouble, kind, said, last):
    keeper, box = keep({"go": ["begin", word, *last]})
    box.ask = lambda: trouble
    with pytest.raises(Stopped, match=said) as caught:
        keeper.run_script()
    assert caught.value.failure.kind == kind


def test_a_script_that_ended_before_its_driver_got_a_signal_has_ended_by_itself(keep):
    keeper, _ = keep({"go": ["begin", "exit 4", "signal"]})
    assert keeper.run_script() == 4


def test_a_frozen_agent_names_its_lease_and_not_the_nodes_that_left_meanwhile(keep):
    link = SoloLink({})
    keeper, _ = keep({"go": ["begin", "lease", "gone 137"]}, link=link)
    link.fail(Failure(kind="node lost", text="node 0 was lost", node=0))
    with pytest.raises(Stopped, match="the lease ended on node 0"):
        keeper.run_script()


@pytest.mark.parametrize(("code", "said"), [(137, "killed from outside"), (-1, "removed from outside")])
def test_a_container_that_somebody_else_ended_is_no_failure_of_the_driver(keep, code, said):
    keeper, box = keep({"go": ["begin"]})
    threading.Timer(0.05, setattr, [box, "code", code]).start()
    with pytest.raises(Stopped, match=said):
        keeper.run_script()
