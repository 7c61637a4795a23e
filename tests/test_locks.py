"""The lock between processes."""

import multiprocessing
import os
import time

import pytest

from madrun.locks import locked


def hold(file, log, seconds):
    with locked(file):
        with log.open("a") as out:
            out.write("in\n")
        time.sleep(seconds)
        with log.open("a") as out:
            out.write("out\n")


def test_one_process_at_a_time_is_inside(tmp_path):
    file, log = tmp_path / "new/folder.lock", tmp_path / "log"
    children = [multiprocessing.get_context("fork").Process(target=hold, args=(file, log, 0.02)) for _ in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert log.read_text().split() == ["in", "out"] * 8


def test_a_holder_that_is_killed_blocks_nobody(tmp_path):
    file, log = tmp_path / "lock", tmp_path / "log"
    child = multiprocessing.get_context("fork").Process(target=hold, args=(file, log, 60))
    child.start()
    while not log.exists():
        time.sleep(0.01)
    os.kill(child.pid, 9)
    child.join(60)
    with locked(file):
        assert log.read_text() == "in\n"


class Over(Exception):
    """What a wait raises that has ended."""


def test_whoever_waits_is_asked_and_may_go(tmp_path):
    def waiting(seconds):
        waited.append(seconds)
        if seconds > 0.15:
            raise Over

    waited = []
    with locked(tmp_path / "lock"), pytest.raises(Over), locked(tmp_path / "lock", waiting):
        pass
    assert waited == sorted(waited)
    assert waited[0] < waited[-1]
    with locked(tmp_path / "lock", waiting):
        assert waited[-1] > 0.15
