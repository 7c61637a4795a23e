"""A lease on standard input: beats keep a process, and its end, silence and letters end it in order."""

import contextlib
import os
import subprocess
import sys
import time

import pytest

from madrun.node.lease import LET_GO, SILENT, keep_lease
from madrun.spec.launch import LEASE

HOLD = """\
import signal, sys, threading, time
from madrun.node.lease import end_of_lease, keep_lease

got = []

def heard(name):
    got.append(name)
    open(sys.argv[4], "a").write("heard\\n")

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _frame: heard(end_of_lease() or signal.Signals(number).name))
keep_lease({"MADRUN_LEASE": "stdin"}, float(sys.argv[1]))
print("held", flush=True)
rest = sys.stdin.read()
limit = time.monotonic() + float(sys.argv[2])
while len(got) < int(sys.argv[3]) and time.monotonic() < limit:
    time.sleep(0.01)
print(*got, repr(rest))
"""


@pytest.fixture
def hold(tmp_path):
    """Starts a process that holds a lease and tells which signals it got, and that it got one in `tmp_path/heard`."""
    started = []

    def start(silence_s, limit_s, signals):
        words = [sys.executable, "-c", HOLD, str(silence_s), str(limit_s), str(signals), tmp_path / "heard"]
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.wait(60)
        child.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()


def test_without_the_variable_standard_input_stays_what_it_is():
    before = os.fstat(0).st_ino, os.fstat(0).st_dev
    assert keep_lease({}) is None
    assert keep_lease({LEASE: "0"}) is None
    assert (os.fstat(0).st_ino, os.fstat(0).st_dev) == before


def test_the_variable_is_not_handed_on_to_what_is_started_here():
    env = {LEASE: "none", "PATH": "/bin"}
    keep_lease(env)
    assert env == {"PATH": "/bin"}


def test_the_end_of_its_input_ends_it_as_sigterm_does_and_nothing_it_starts_can_read_a_beat(hold):
    child = hold(600, 120, 1)
    child.stdin.write("\n")
    child.stdin.close()
    assert child.stdout.read() == f"{LET_GO} ''\n"


@pytest.mark.slow
def test_silence_ends_it_though_its_input_is_open(hold):
    child = hold(0.2, 120, 1)
    assert child.stdout.readline() == f"{SILENT.format(0.2)} ''\n"


@pytest.mark.slow
def test_beats_keep_it_for_longer_than_it_lasts_without(hold):
    for lease in (1.5, 6, 45):
        child, longest = hold(lease, lease * 1.5, 1), 0.0
        with contextlib.suppress(BrokenPipeError):
            while child.poll() is None:
                said = time.monotonic()
                child.stdin.write("\n")
                child.stdin.flush()
                time.sleep(0.05)
                longest = max(longest, time.monotonic() - said)
        if longest < lease / 2:
            break  # else this test was slow itself: once more, with more time
    assert child.stdout.readline() == "''\n"


@pytest.mark.parametrize(("letters", "names"), [("I\n", "SIGINT"), ("T\n", "SIGTERM"), ("H\n\n", "SIGHUP")])
def test_a_letter_is_the_signal_that_came_at_the_head(hold, letters, names):
    child = hold(600, 120, 1)
    child.stdin.write(letters)
    child.stdin.flush()
    assert child.stdout.readline() == f"{names} ''\n"


def test_a_second_letter_is_a_second_signal_and_the_lease_goes_on_between(hold, tmp_path):
    child = hold(600, 120, 3)
    heard, deadline = tmp_path / "heard", time.monotonic() + 60
    for count in (1, 2):
        child.stdin.write("I\n")
        child.stdin.flush()
        while not heard.exists() or heard.read_text().count("\n") < count:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    child.stdin.close()
    assert child.stdout.read() == f"SIGINT SIGINT {LET_GO} ''\n"


@pytest.mark.slow
def test_what_is_no_letter_of_a_signal_is_a_beat(hold):
    child = hold(600, 0.2, 1)
    child.stdin.buffer.write(b"x\xff\x00KQ\n")
    child.stdin.flush()
    assert child.stdout.readline() == "''\n"


def test_the_process_that_ends_is_this_one_alone(hold):
    child = hold(600, 120, 1)
    assert os.getpgid(child.pid) == os.getpgid(0)
    child.stdin.close()
    assert child.stdout.readline().startswith(LET_GO)
