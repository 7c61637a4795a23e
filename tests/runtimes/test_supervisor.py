"""The supervisor as a program: exit codes, its watch, and descendants that nobody else would end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from process_parts import alive, number_in

from madrun.runtimes import supervisor

ESCAPE = "setsid bash -c 'trap \"\" TERM HUP INT; echo $$ >escaped; while :; do sleep 0.1; done' & "


@pytest.fixture
def supervise(tmp_path):
    """Starts the supervisor over a bash command; gives the process and the writing end of its watch.

    `lease` replaces the seconds that the command has once its watch has ended.
    """
    started = []
    text = Path(supervisor.__file__).read_text()
    assert text.count("\nOWN_LEASE_S = 3.0\n") == 1

    def begin(command, lease=3.0):
        read, write = os.pipe()
        program = tmp_path / "supervisor.py"
        program.write_text(text.replace("\nOWN_LEASE_S = 3.0\n", f"\nOWN_LEASE_S = {lease}\n"))
        words = [sys.executable, "-I", "-S", str(program), str(read), "bash", "-c", command]
        process = subprocess.Popen(words, cwd=tmp_path, pass_fds=(read,), stdin=subprocess.DEVNULL)
        os.close(read)
        started.append((process, os.fdopen(write, "wb", buffering=0)))
        return started[-1]

    try:
        yield begin
    finally:
        for process, watch in started:
            watch.close()
            process.wait(120)


@pytest.mark.parametrize(
    ("command", "code"), [("exit 0", 0), ("exit 5", 5), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_the_exit_code_is_the_commands(supervise, command, code):
    process, _ = supervise(command)
    assert process.wait(60) == code


def test_a_byte_on_the_watch_ends_everything_at_once(supervise, tmp_path):
    process, watch = supervise(f"{ESCAPE} sleep 1200")
    escaped = number_in(tmp_path / "escaped")
    watch.write(b"k")
    assert process.wait(60) == 137
    assert not alive(escaped)


@pytest.mark.e2e
def test_the_end_of_the_watch_ends_everything_after_a_few_seconds(supervise, tmp_path):
    process, watch = supervise(f"{ESCAPE} trap '' TERM; sleep 300")
    escaped = number_in(tmp_path / "escaped")
    watch.close()
    assert process.wait(60) == 137
    assert not alive(escaped)


def test_the_end_of_the_watch_leaves_the_command_time_to_end_by_itself(supervise, tmp_path):
    process, watch = supervise("echo $$ >up; sleep 0.5; exit 98", lease=60.0)
    number_in(tmp_path / "up")
    watch.close()
    assert process.wait(60) == 98


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_meant_for_madrun_does_not_end_it(supervise, tmp_path, number):
    process, _ = supervise("echo $$ >up; sleep 0.4; exit 7")
    number_in(tmp_path / "up")
    process.send_signal(number)
    assert process.wait(60) == 7


def test_the_command_itself_hears_signals(supervise):
    process, _ = supervise("trap 'exit 9' TERM; kill -TERM $$; exit 1")
    assert process.wait(60) == 9


def test_it_needs_nothing_but_the_standard_library():
    text = Path(supervisor.__file__).read_text()
    imported = {
        line.split()[1].partition(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))
    }
    assert imported <= set(sys.stdlib_module_names)
