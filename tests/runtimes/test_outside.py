"""What is done to a container from outside is noticed; the engine and the process are real or stand-ins that fail."""

import os
import subprocess
import sys
import time

import pytest
from docker.errors import NotFound
from requests.exceptions import ConnectionError as Gone

from madrun.runtimes import outside
from madrun.runtimes.outside import FirstProcess, Outlook, answers


class FakeEngine:
    """`states` are the answers to look after look; the last one stays."""

    def __init__(self, *states, alive=True):
        self.states, self.alive = list(states), alive

    def inspect_container(self, container):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, Exception):
            raise state
        return {"State": state}

    def ping(self):
        if not self.alive:
            raise Gone("refused")

    def close(self):
        pass


@pytest.fixture
def look(monkeypatch):
    """The trouble that an engine's answers lead to; nothing where none comes in a while."""
    monkeypatch.setattr(outside, "LOOK_S", 0.01)
    made = []

    def wait(engine, seconds=0.3):
        made.append(Outlook(engine, "c1"))
        deadline = time.monotonic() + seconds
        while not made[-1].trouble and time.monotonic() < deadline:
            time.sleep(0.005)
        return made[-1].trouble

    yield wait
    for outlook in made:
        outlook.close()


PAUSED, RUNNING = {"Paused": True}, {"Paused": False}


def test_a_container_that_stays_paused_is_seen(look):
    assert look(FakeEngine(RUNNING, PAUSED), 60) == "paused"


def test_a_moment_of_pause_as_docker_commit_makes_it_is_no_trouble(look):
    assert look(FakeEngine(RUNNING, PAUSED, RUNNING)) == ""


def test_an_engine_that_takes_no_connection_any_more_is_seen(look):
    assert look(FakeEngine(Gone("refused"), alive=False), 60) == "engine"


def test_one_connection_that_breaks_is_no_trouble(look):
    assert look(FakeEngine(Gone("reset"), RUNNING)) == ""


def test_a_container_that_is_gone_is_no_trouble_of_the_engine(look):
    assert look(FakeEngine(NotFound("gone"))) == ""


@pytest.mark.parametrize("alive", [True, False])
def test_an_engine_answers_or_not(alive):
    assert answers(FakeEngine(RUNNING, alive=alive)) is alive


def test_the_first_process_is_ended_and_known_to_be_dead():
    command = (sys.executable, "-c", "import time; time.sleep(300)")
    with subprocess.Popen(command) as child:
        deadline = time.monotonic() + 60
        while (first := FirstProcess(child.pid, command)).pid is None:
            assert time.monotonic() < deadline
        assert first.lives is True
        first.kill()
        child.wait(60)
        assert first.lives is False
        first.kill()  # a second time in vain


def test_a_process_with_another_command_is_nobodys_first_process():
    first = FirstProcess(os.getpid(), ("bash", "/madrun/driver.sh"))
    assert first.lives is None
    first.kill()
