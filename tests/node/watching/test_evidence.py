"""What is written of processes that stand still: real ones, looked at from here and from beside them."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from madrun.node.watching import evidence
from madrun.node.watching.evidence import Examination
from madrun.node.watching.processtable import Process, drives, processes_of
from madrun.node.workspace import Workspace
from madrun.planning import driver

HANG = """import socket
def step(server):
    server.accept()
server = socket.create_server(("127.0.0.1", 0))
print(flush=True)
step(server)
"""


@pytest.fixture
def hang(tmp_path):
    """A shell with a rank of Python below it that waits for somebody; ended at the end."""
    (tmp_path / "train.py").write_text(HANG)
    words = ["bash", "-c", f"RANK=3 {sys.executable} train.py & wait"]
    child = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True)
    child.stdout.readline()
    deadline = time.monotonic() + 60
    while any(process.state != "sleeping" for process in processes_of(child.pid)):  # its last step to where it waits
        assert time.monotonic() < deadline
    yield child
    os.killpg(child.pid, 9)
    child.wait()
    child.stdout.close()


@pytest.fixture
def examine(tmp_path, make_test_plan):
    """Examines the processes below a pid for a job of the process runtime; further words are its fields."""

    def run(pid, **more):
        job = make_test_plan().job
        space = Workspace(tmp_path / "node-0")
        space.work.mkdir(parents=True)
        space.console.write_text("step 1\nthe last word\n")
        given = {"send": lambda _line: None, "secrets": ()} | more
        return space, Examination(space=space, job=job, own=("train.py",), pid=pid, **given).run()

    return run


def test_a_rank_that_waits_is_shown_with_its_stack_in_one_line(hang, examine):
    space, names = examine(hang.pid)
    (rank,) = (space.root / "evidence/ranks.txt").read_text().splitlines()
    assert rank.startswith("rank 3 pid ")
    assert rank.endswith("train.py:3 step -> accept")
    assert (space.root / "evidence/last_lines.txt").read_text() == "console.log: the last word\n"
    assert "train.py" in (space.root / "evidence/processes.txt").read_text()
    assert all((space.root / name).is_file() for name in names)
    assert sum(name.startswith("evidence/stack-") for name in names) == 1


def test_a_secret_that_is_the_beginning_of_another_leaves_nothing_of_it(hang, examine):
    space, _ = examine(hang.pid, secrets=("trai", "train.py"))
    assert "n.py" not in (space.root / "evidence/processes.txt").read_text()


def test_secrets_of_a_command_line_are_masked(hang, examine):
    space, _ = examine(hang.pid, secrets=("train.py",))
    assert "train.py" not in "".join(file.read_text() for file in (space.root / "evidence").iterdir())


def test_without_py_spy_and_without_a_process_the_rest_is_written(hang, examine, monkeypatch):
    monkeypatch.setattr(evidence, "_py_spy", lambda: None)
    space, names = examine(hang.pid)
    assert "evidence/processes.txt" in names
    assert "sleeping" in (space.root / "evidence/ranks.txt").read_text()


def test_a_box_that_cannot_be_seen_leaves_the_last_lines(examine):
    _, names = examine(None)
    assert names == ("evidence/last_lines.txt",)


def test_the_table_knows_descendants_their_states_and_threads(hang):
    shell, rank = processes_of(hang.pid)
    assert (shell.pid, rank.parent) == (hang.pid, hang.pid)
    assert (rank.rank, rank.is_python, rank.state) == ("3", True, "sleeping")
    assert not shell.is_python


def test_a_rank_whose_environment_may_not_be_read_is_known_by_what_the_driver_wrote():
    base = {"state": "sleeping", "waits_in": "", "name": "x", "command": "python3 t.py"}
    family = [
        Process(pid=1, inner=1, parent=0, rank="", **base),
        Process(pid=2, inner=2, parent=1, rank="", **base),
        Process(pid=3, inner=3, parent=2, rank="", **base),
    ]
    stack = 'Thread 3 (idle): "MainThread"\n    wait (t.py:4)\n'
    lines = evidence._standing(family, {2: f"RANK=5\nWCHAN=poll\n{stack}", 3: f"RANK=5\n{stack}"}, ("t.py",))
    assert lines == ["rank 5 pid 2 sleeping in poll: t.py:4 wait"]


def test_a_link_out_of_the_box_is_not_followed_to_a_dump(tmp_path, make_test_plan):
    space = Workspace(tmp_path / "node-0")
    space.work.mkdir(parents=True)
    (tmp_path / "outside0").write_text("not ours")
    (space.work / "fr_0").symlink_to(tmp_path / "outside0")
    (space.work / "good_1").write_text("dump")
    base = {"inner": 1, "parent": 0, "state": "", "waits_in": "", "name": "", "command": ""}
    family = [Process(pid=one, rank=str(one), **base) for one in (0, 1)]
    job = replace(make_test_plan().job, runtime="docker", env={"TORCH_FR_DUMP_TEMP_FILE": "/madrun/work/fr_"})
    assert evidence._recorded(job, space, family) == []
    job = replace(job, env={"TORCH_NCCL_DEBUG_INFO_TEMP_FILE": "/madrun/work/good_"})
    assert [file.name for file in evidence._recorded(job, space, family)] == ["good_1"]
    assert evidence._recorded(replace(job, env={"TORCH_FR_DUMP_TEMP_FILE": "/tmp/x"}), space, family) == []


def test_a_rank_that_waits_at_its_pipe_is_told_to_write_down_what_it_recorded(tmp_path, make_test_plan):
    space = Workspace(tmp_path / "node-0")
    space.work.mkdir(parents=True)
    pipe = space.work / "pipe_1.pipe"
    os.mkfifo(pipe)
    waiting = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    base = {"pid": 1, "inner": 1, "parent": 0, "state": "", "waits_in": "", "name": "", "command": ""}
    job = replace(make_test_plan().job, runtime="docker", env={"TORCH_NCCL_DEBUG_INFO_PIPE_FILE": "/madrun/work/pipe_"})
    try:
        assert evidence._ask_recorder(job, space, [Process(rank="1", **base)])
        assert os.read(waiting, 9) == b"1\n"
    finally:
        os.close(waiting)


def test_a_number_that_is_no_driver_here_is_of_another_host(tmp_path):
    for pid, command in (
        (5, "bash\0/madrun/driver.sh\0"),
        (6, "python\0supervisor.py\0bash\0/r/box/driver.sh\0"),
        (7, "nginx\0"),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "cmdline").write_text(command)
    assert [drives(pid, tmp_path) for pid in (5, 6, 7, 8)] == [True, True, False, False]


def test_where_madrun_may_not_look_the_driver_beside_the_ranks_does(tmp_path, make_test_plan, monkeypatch):
    monkeypatch.setattr(evidence, "_dump_here", lambda _tool, pids, _limit: dict.fromkeys(pids, "Permission Denied"))
    space = Workspace(tmp_path / "node-0")
    space.work.mkdir(parents=True)
    (space.work / "train.py").write_text(HANG)
    (space.work / "run.sh").write_text(f"RANK=3 {sys.executable} train.py\n")
    (space.box / "steps").touch()
    (space.box / "driver.sh").write_text(driver.render("one", driver.run_line("run.sh", ""), 1.0))
    words = ["bash", str(space.box / "driver.sh")]
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def send(line):
        child.stdin.write(f"{line}\n")
        child.stdin.flush()

    try:
        send("go")
        child.stdout.readline()  # the rank stands at its hang
        job = replace(make_test_plan().job, runtime="docker")
        given = {"own": ("train.py",), "pid": child.pid, "send": send, "secrets": ()}
        names = Examination(space=space, job=job, **given).run()
        assert any(name.startswith("evidence/stack-") for name in names)
        (line,) = (space.root / "evidence/ranks.txt").read_text().splitlines()
        assert line.startswith("rank 3 pid ")
        assert line.endswith("train.py:3 step -> accept")
        send("stop 1")
        assert child.wait(60) == 143
    finally:
        child.kill()
        child.communicate()
