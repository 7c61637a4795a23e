"""The process runtime, with real processes: nothing of it outlives its end."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from process_parts import alive, number_in

from madrun.errors import EngineError
from madrun.runtimes.process import ProcessBox
from madrun.spec.plan import HostProcess

ESCAPE = "setsid bash -c 'trap \"\" TERM HUP INT; echo $$ >escaped; while :; do sleep 0.1; done' &\n"


@pytest.fixture
def open_box(tmp_path):
    boxes = []

    def begin(script, sink=lambda _chunk: None, env=None, secrets=None):
        (tmp_path / "script.sh").write_text(script)
        process = HostProcess(
            command=("bash", str(tmp_path / "script.sh")),
            workdir=str(tmp_path),
            env={"PATH": os.environ["PATH"]} | (env or {}),
        )
        boxes.append(ProcessBox(process, secrets or {}, sink))
        return boxes[-1]

    try:
        yield begin
    finally:
        for box in boxes:
            if box.wait(0) is None:
                box.kill()
                box.wait(60)


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_the_exit_code_is_the_shells(open_box, script, code):
    assert open_box(script).wait(60) == code


def test_output_of_both_streams_reaches_the_sink_to_its_end(open_box):
    got = []
    box = open_box("echo out; echo err >&2; head -c 300000 /dev/zero; echo; echo last", got.append)
    assert box.wait(60) == 0
    text = b"".join(got)
    assert text.startswith(b"out\nerr\n")
    assert text.endswith(b"\nlast\n")
    assert len(text) == 300_000 + len("out\nerr\n\nlast\n")


def test_lines_reach_the_input_and_a_box_that_has_ended_takes_them_without_complaint(open_box):
    got = []
    box = open_box('read -r line; echo "got $line"', got.append)
    box.send("hello")
    assert box.wait(60) == 0
    box.send("too late")
    box.kill()
    assert b"".join(got) == b"got hello\n"


def test_a_running_box_has_no_exit_code_yet(open_box):
    box = open_box("read -r line")
    assert box.wait(0) is None
    box.send("")
    assert box.wait(60) == 0


def test_a_secret_reaches_the_environment_and_no_command_line(open_box, tmp_path):
    got = []
    script = "echo $HF_TOKEN; cat /proc/$PPID/cmdline /proc/$$/cmdline >words"
    box = open_box(script, got.append, {"HF_TOKEN": "{secret}"}, {"HF_TOKEN": "hf_very_secret"})
    assert box.wait(60) == 0
    assert got == [b"hf_very_secret\n"]
    assert b"hf_very_secret" not in (tmp_path / "words").read_bytes()


def test_kill_ends_also_a_child_that_left_its_session_and_ignores_term(open_box, tmp_path):
    box = open_box(ESCAPE + "sleep 300\n")
    escaped = number_in(tmp_path / "escaped")
    box.kill()
    assert box.wait(60) == 137
    assert not alive(escaped)


def test_the_end_of_the_command_ends_what_it_left_behind(open_box, tmp_path):
    box = open_box(ESCAPE + "until [ -s escaped ]; do sleep 0.02; done; exit 4\n")
    assert box.wait(60) == 4
    assert not alive(int((tmp_path / "escaped").read_text()))


@pytest.mark.e2e
def test_everything_ends_when_madrun_is_killed(tmp_path):
    (tmp_path / "script.sh").write_text(ESCAPE + "trap '' TERM\nwhile :; do sleep 0.1; done\n")
    program = (
        "import os, time\nfrom madrun.runtimes.process import ProcessBox\nfrom madrun.spec.plan import HostProcess\n"
        f"p = HostProcess(command=('bash', 'script.sh'), workdir={str(tmp_path)!r}, env=dict(os.environ))\n"
        "ProcessBox(p, {}, print)\ntime.sleep(300)\n"
    )
    agent = subprocess.Popen([sys.executable, "-c", program])
    try:
        escaped = number_in(tmp_path / "escaped")
    finally:
        agent.kill()
        agent.wait()
    deadline = time.monotonic() + 60
    while alive(escaped) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(escaped), "gone within 5 s"


def test_a_work_directory_that_is_not_there_is_an_engine_error(tmp_path):
    process = HostProcess(command=("bash",), workdir=str(tmp_path / "none"), env={})
    with pytest.raises(EngineError, match="the process runtime could not start"):
        ProcessBox(process, {}, print)


def test_waiting_again_closes_no_file_of_somebody_else(open_box, tmp_path):
    box = open_box("exit 0")
    assert box.wait(60) == 0
    files = [(tmp_path / f"f{index}").open("w") for index in range(8)]
    try:
        assert box.wait(60) == 0
        box.kill()
        for file in files:
            file.write("mine")
            file.flush()
    finally:
        for file in files:
            with suppress(OSError):
                file.close()
    assert [(tmp_path / f"f{index}").read_text() for index in range(8)] == ["mine"] * 8


def test_a_box_that_has_ended_leaves_no_open_files(open_box):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        assert open_box("exit 0").wait(60) == 0
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
