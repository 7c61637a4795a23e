"""The terminal: the script's output on stdout, news on stderr, and neither holds up the run."""

import os
import subprocess
import sys

import pytest

from madrun.cli.screen import Screen

FOLLOW = """\
import sys, time
from pathlib import Path
from madrun.cli.screen import Screen
screen = Screen()
log = Path(sys.argv[1])
screen.phase("running")
screen.follow(log)
with log.open("ab") as target:
    for number in range(3):
        target.write(b"line %d\\n" % number)
        target.flush()
        time.sleep(0.05)
    target.write(b"x" * 3_000_000 + b"\\nlast\\n")
screen.unfollow()
screen.line("done")
screen.show(["verdict"])
screen.close()
"""


def test_everything_of_the_log_is_shown_and_news_go_to_stderr(tmp_path):
    log = tmp_path / "console.log"
    log.touch()
    done = subprocess.run([sys.executable, "-c", FOLLOW, str(log)], capture_output=True, timeout=60, check=True)
    assert done.stdout == log.read_bytes() + b"verdict\n"
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("madrun: [")
    assert lines[0].endswith("running")
    assert lines[-1] == "madrun: done"


def test_a_log_that_is_not_to_be_heard_is_not_shown_while_verdicts_are(tmp_path):
    log = tmp_path / "console.log"
    log.touch()
    text = FOLLOW.replace("screen = Screen()", "screen = Screen()\nscreen.live = False")
    done = subprocess.run([sys.executable, "-c", text, str(log)], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"verdict\n"
    assert done.stderr.decode().splitlines()[-1] == "madrun: done"


def test_a_reader_that_goes_away_does_not_end_the_run(tmp_path):
    log = tmp_path / "console.log"
    log.touch()
    read, write = os.pipe()
    os.close(read)
    try:
        command = [sys.executable, "-c", FOLLOW, str(log)]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(write)
    assert done.returncode == 0
    assert done.stderr.decode().splitlines()[-1] == "madrun: done"


@pytest.mark.parametrize("lines", [["a"], ["a", "b"]])
def test_without_a_terminal_news_are_plain_lines(capfd, lines):
    screen = Screen()
    for line in lines:
        screen.line(line)
    screen.close()
    assert capfd.readouterr().err.splitlines() == [f"madrun: {line}" for line in lines]
