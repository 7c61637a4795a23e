"""A rank below rank.py is the rank that it would be without: its output, its end, its signals, its interpreter."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import madrun.runners
from madrun.node.ranks import parse_ends

pytestmark = pytest.mark.slow  # real processes or commands in most of them

HERE = Path(madrun.runners.__file__).parent
# Plays torchrun: starts each rank with PYTHON_EXEC as torchrun does, and ends with the code of the first.
LAUNCHER = """
import os, subprocess, sys
ranks = [subprocess.Popen([os.environ["PYTHON_EXEC"], "-u", *sys.argv[2:]], start_new_session=True,
         env={**os.environ, "RANK": str(rank)}) for rank in range(int(sys.argv[1]))]
print("pids", *[rank.pid for rank in ranks], file=open("pids", "w"))
sys.exit([rank.wait() for rank in ranks][0] % 256)
"""


@pytest.fixture
def box(tmp_path):
    made = tmp_path / "box"
    (made / "ranks").mkdir(parents=True)
    shutil.copy(HERE / "rank.py", made / "rank.py")
    shutil.copy(HERE / "rank.sh", made / "rank")
    (made / "rank").chmod(0o755)
    return made


@pytest.fixture
def start(tmp_path, box):
    """Starts ranks that run a text as a script; ended after the test."""
    (tmp_path / "launcher.py").write_text(LAUNCHER)
    started = []

    def launch(text, ranks=1, stderr=subprocess.STDOUT, preexec_fn=None, **env):
        (tmp_path / "script.py").write_text(text)
        env = {"PATH": os.environ["PATH"], "PYTHON_EXEC": str(box / "rank"), **env}
        words = [sys.executable, "launcher.py", str(ranks), "script.py", "a b", "c"]
        started.append(
            subprocess.Popen(words, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=stderr, preexec_fn=preexec_fn)
        )
        return started[-1]

    yield launch
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def told(process):
    """All that came to the console."""
    return process.communicate(timeout=60)[0]


def end_of(box, rank=0):
    """The exit code that was noted last."""
    (*_, line) = (box / f"ranks/rank-{rank}.end").read_text().splitlines()
    return int(line.split()[1])


def log(box, rank=0):
    return (box / f"ranks/rank-{rank}.log").read_bytes()


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def child_of(pid):
    """The process below the one that the launcher knows, once it runs the script."""
    found = []

    def look():
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found[:] = [int(word) for word in text]
        return bool(found) and b"script.py" in Path(f"/proc/{found[0]}/cmdline").read_bytes()

    until(look)
    return found[0]


def pid_of_rank(tmp_path, rank=0):
    until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text().endswith("\n"))
    return int((tmp_path / "pids").read_text().split()[1 + rank])


def test_console_and_log_have_every_byte_in_order_of_both_streams(start, box):
    script = "import os\nfor i in range(3000): os.write(1 + i % 2, (b'%d ' % i) * (i % 50) + b'\\n' * (i % 7 > 0))\n"
    expected = b"".join(b"%d " % i * (i % 50) + b"\n" * (i % 7 > 0) for i in range(3000))
    process = start(script)
    assert told(process) == expected
    assert process.returncode == 0
    assert log(box) == expected
    assert end_of(box) == 0


def test_streams_that_are_apart_stay_apart(start, box):
    process = start("import sys; print('out'); print('err', file=sys.stderr)", stderr=subprocess.PIPE)
    assert process.communicate(timeout=60) == (b"out\n", b"err\n")
    assert sorted(log(box).split()) == [b"err", b"out"]


def test_the_rank_finds_interpreter_arguments_and_environment_as_without(start):
    script = (
        "import os, sys; print(sys.executable, sys.prefix, sys.argv, sys.flags.isolated, sorted({*os.environ} - {'_'}))"
    )
    by_bash = {"PWD": "/", "SHLVL": "1", "OLDPWD": "/"}  # the driver is a bash as well
    wrapped = told(start(script, PYTHONPATH="x", **by_bash))
    plain = told(start(script, PYTHONPATH="x", PYTHON_EXEC=sys.executable, **by_bash))
    assert wrapped == plain.replace(b"'PYTHON_EXEC', ", b"")


def test_variables_of_the_user_reach_the_rank_whatever_their_names(start):
    names = ("box", "first", "python", "found", "rank", "name")
    process = start(f"import os; print(*(os.environ[n] for n in {names}))", **dict.fromkeys(names, "mine"))
    assert told(process).split() == [b"mine"] * len(names)


def test_the_end_says_which_launch_it_was_of_how_many_ranks_and_whether_there_may_be_another(start, box):
    launches = [("1", "3", "2", "1.2+"), ("3", "3", "x", "3.0")]
    for count, most, ranks, _ in launches:
        given = {"TORCHELASTIC_RESTART_COUNT": count, "TORCHELASTIC_MAX_RESTARTS": most, "LOCAL_WORLD_SIZE": ranks}
        told(start("", **given))
    ends = parse_ends((box / "ranks/rank-0.end").read_text(), 0)
    assert [launch.partition(".")[2] for launch, _, _ in ends] == [said for *_, said in launches]


@pytest.mark.parametrize("code", [0, 1, 3, 255])
def test_the_exit_code_is_the_ranks_own(start, box, code):
    process = start(f"raise SystemExit({code})")
    told(process)
    assert process.returncode == code
    assert end_of(box) == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGINT])
def test_a_rank_that_dies_by_a_signal_is_seen_to_die_by_it(start, box, number):
    process = start(f"import os, signal; print('last', flush=True); os.kill(os.getpid(), {int(number)})")
    text = told(process)
    assert text.startswith(b"last\n")
    known_as_rank_dies = 1 if number == signal.SIGINT else None
    assert end_of(box) in (-number, known_as_rank_dies)
    assert process.returncode == end_of(box) % 256


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_ranks_session_comes_once(start, tmp_path, number):
    script = f"""
import signal, time
seen = []
signal.signal({int(number)}, lambda *_: seen.append(1))
print("up", flush=True)
while not seen: time.sleep(0.01)
time.sleep(0.2)
print("seen", len(seen))
"""
    process = start(script)
    assert process.stdout.readline() == b"up\n"
    os.killpg(pid_of_rank(tmp_path), number)
    assert told(process) == b"seen 1\n"
    assert process.returncode == 0


def test_a_signal_comes_while_nobody_reads_the_console(start, tmp_path):
    process = start("import os\nwhile True: os.write(1, b'x' * 999 + b'\\n')\n")
    assert process.stdout.read(1000)
    time.sleep(0.3)
    os.killpg(pid_of_rank(tmp_path), signal.SIGTERM)
    told(process)
    assert process.returncode == -signal.SIGTERM % 256


def test_of_all_processes_the_rank_alone_is_known_by_its_rank(start, tmp_path):
    process = start("import time; print('up', flush=True); time.sleep(300)")
    assert process.stdout.readline() == b"up\n"
    pid = pid_of_rank(tmp_path)
    assert b"RANK=0" in Path(f"/proc/{child_of(pid)}/environ").read_bytes().split(b"\0")
    assert b"RANK=" not in Path(f"/proc/{pid}/environ").read_bytes()
    os.killpg(pid, signal.SIGTERM)
    told(process)


def test_kill_9_of_what_torchrun_knows_ends_the_rank_too(start, tmp_path):
    process = start("import time; print('up', flush=True); time.sleep(300)")
    assert process.stdout.readline() == b"up\n"
    pid = pid_of_rank(tmp_path)
    child = child_of(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{child}").exists() or "(zombie)" in Path(f"/proc/{child}/status").read_text())
    told(process)
    assert process.returncode == -signal.SIGKILL % 256


def test_a_line_without_an_end_comes_after_a_moment(start):
    process = start("import sys, time; sys.stdout.write('\\r 50 %'); sys.stdout.flush(); time.sleep(600)")
    began = time.monotonic()
    assert os.read(process.stdout.fileno(), 100) == b"\r 50 %"
    assert time.monotonic() - began < 60


def test_lines_of_ranks_do_not_mix(start, box):
    script = "import os, sys\nfor i in range(4000): print(os.environ['RANK'] * 100, end=''); print()\n"
    process = start(script, ranks=3)
    lines = told(process).decode().splitlines()
    assert len(lines) == 12000
    mixed = [line for line in lines if not re.fullmatch("0{100}|1{100}|2{100}", line)]
    assert len(mixed) <= 2, "only a line that waited for its end may have been cut"
    assert [log(box, rank) for rank in range(3)] == [(b"%d" % rank * 100 + b"\n") * 4000 for rank in range(3)]


@pytest.mark.e2e
def test_a_child_that_stays_behind_does_not_hold_the_rank_and_is_still_heard(start, box, tmp_path):
    script = """
import os, time
if os.fork() == 0:
    os.setsid(); 
    while not os.path.exists('go on'): time.sleep(0.01)
    os.write(1, b"from behind\\n"); os._exit(0)
print("rank ends", flush=True)
os._exit(5)
"""
    process = start(script)
    assert process.wait(60) == 5
    (tmp_path / "go on").touch()
    assert process.stdout.read() == b"rank ends\nfrom behind\n"
    assert log(box) == b"rank ends\nfrom behind\n"


def test_a_console_that_nobody_reads_any_more_is_a_broken_pipe_for_the_rank(start, tmp_path):
    script = """
import os
try:
    while True: os.write(1, b"x" * 99)
except OSError as error:
    open("why", "w").write(str(error))
"""
    process = start(script)
    process.stdout.read(100)
    process.stdout.close()
    process.wait(60)
    assert "Broken pipe" in (tmp_path / "why").read_text()
    process.stdout = None


def test_a_log_that_takes_no_more_costs_the_rank_nothing(start, box):
    # a limit on the size of files stands for a full disk: the write really fails
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    process = start("print('x' * 5000)", preexec_fn=limited)
    assert told(process) == b"x" * 5000 + b"\n"
    assert process.returncode == 0
    assert log(box) == b"x" * 1000
    assert (box / "ranks/rank-0.end").read_text().endswith(" File too large\n")


def test_a_link_in_place_of_the_log_is_not_followed(start, box, tmp_path):
    (box / "ranks/rank-0.log").symlink_to(tmp_path / "elsewhere")
    assert told(start("print('runs')")) == b"runs\n"
    assert not (tmp_path / "elsewhere").exists()


def test_without_its_directory_the_rank_runs_all_the_same(start, box):
    shutil.rmtree(box / "ranks")
    process = start("print('runs')")
    assert told(process) == b"runs\n"
    (box / "rank.py").unlink()
    assert told(start("print('runs')")) == b"runs\n"


def test_the_driver_can_ask_whether_it_can_be_executed(box):
    assert subprocess.run([box / "rank", "--ready"]).returncode == 0
