"""What another host prints on this terminal: a slow reader is waited for, one that has gone is no error."""

import contextlib
import os
import subprocess
import sys
import threading
import time

import pytest

from madrun.cli.terminal import Terminal
from madrun.node.task import Interrupt


@pytest.fixture
def pipes():
    """Two pipes; their reading ends first."""
    made = [os.pipe(), os.pipe()]
    yield made
    for fd in (fd for pipe in made for fd in pipe):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_each_stream_gets_its_own(pipes):
    (out, to_out), (err, to_err) = pipes
    head = Terminal(Interrupt(), to_out, to_err)
    head.show(b"out\n")
    head.tell(b"err\n")
    head.say("carrying 1 MiB \u2192 n0")
    assert os.read(out, 100) == b"out\n"
    assert os.read(err, 100).decode() == "err\nmadrun: carrying 1 MiB \u2192 n0\n"


def test_the_environment_is_that_of_the_command(pipes, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert Terminal(Interrupt(), pipes[0][1], pipes[1][1]).env["SLURM_JOB_ID"] == "7"


def test_a_slow_reader_gets_everything_and_the_writer_waits(pipes):
    (out, to_out), (_, to_err) = pipes
    head = Terminal(Interrupt(), to_out, to_err)
    data = b"x" * 300_000
    writer = threading.Thread(target=head.show, args=(data,), daemon=True)
    writer.start()
    writer.join(0.1)
    assert writer.is_alive()
    got = 0
    while got < len(data):
        got += len(os.read(out, 65536))
    writer.join(10)
    assert not writer.is_alive()


def test_a_reader_that_has_gone_is_no_error(pipes):
    (out, to_out), (_, to_err) = pipes
    os.close(out)
    head = Terminal(Interrupt(), to_out, to_err)
    head.show(b"x")
    head.show(b"x" * 300_000)


@pytest.mark.slow
def test_after_a_signal_a_terminal_that_takes_nothing_is_given_up(pipes):
    (_, to_out), (err, to_err) = pipes
    interrupt = Interrupt()
    head = Terminal(interrupt, to_out, to_err)
    interrupt.set("interrupted by SIGINT")
    began = time.monotonic()
    head.show(b"x" * 300_000)
    assert time.monotonic() - began < 10
    head.say("still there")
    assert os.read(err, 100) == b"madrun: still there\n"
    assert (head.stop.is_set(), head.reason, head.count) == (True, "interrupted by SIGINT", 1)


def test_without_streams_nothing_fails():
    text = "from madrun.cli.terminal import Terminal\nfrom madrun.node.task import Interrupt\n"
    text += "head = Terminal(Interrupt())\nhead.show(b'x')\nhead.say('x')\n"
    words = ["sh", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, text]
    assert subprocess.run(words, timeout=30).returncode == 0
