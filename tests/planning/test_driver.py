"""The driver, as a real bash process: steps, lease, ends. Every process is ended by its pid."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.node.snapshot import parse_environment
from madrun.planning.driver import LEASE_S, render, run_line
from madrun.spec.context import is_secret


@pytest.fixture
def start(tmp_path):
    """Starts a driver over `script`; `lease` replaces the seconds it waits for a line."""
    started = []

    def begin(script="exit 0\n", args="", grace=1.0, lease=LEASE_S, name="run.sh", env=None, text=None):
        (tmp_path / "work").mkdir(exist_ok=True)
        (tmp_path / "work" / name).write_text(script)
        (tmp_path / "steps").touch()
        text = text or render("one", run_line(name, args), grace)
        assert text.count(f"-t {LEASE_S:g} ") == 1
        (tmp_path / "driver.sh").write_text(text.replace(f"-t {LEASE_S:g} ", f"-t {lease} "))
        process = subprocess.Popen(
            ["bash", str(tmp_path / "driver.sh")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"]} | (env or {}),
            text=True,
        )
        started.append(process)
        return process

    try:
        yield begin
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def send(process, line):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


@pytest.fixture
def until(tmp_path):
    """Waits for a step and returns all steps so far as (name, value)."""

    def wait(name, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            lines = (tmp_path / "steps").read_text().splitlines()
            steps = [tuple(line.split(" ")[1:]) for line in lines]
            if any(step[0] == name for step in steps):
                return steps
            time.sleep(0.01)
        raise AssertionError(f"no step {name}: {lines}")

    return wait


def ends_with(process):
    return process.wait(60), process.stdout.read()


def test_a_run_reports_its_steps_in_order_and_the_console_holds_the_scripts_words_alone(start, until):
    process = start("echo out; echo err >&2; pwd\n")
    until("ready")
    send(process, "go")
    until("exit")
    send(process, "bye")
    code, text = ends_with(process)
    names = [step[0] for step in until("end") if step[0] != "oom"]  # told where the host counts such kills
    assert code == 0
    assert names == ["driver", "ready", "begin", "exit", "gone", "end"]
    assert text.splitlines()[:2] == ["out", "err"]
    assert text.splitlines()[2].endswith("/work")


@pytest.mark.parametrize("code", [0, 3, 139])
def test_the_exit_code_of_the_script_is_reported_and_returned(start, until, code):
    process = start(f"exit {code}\n")
    send(process, "go")
    assert ("exit", str(code)) in until("exit")
    send(process, "bye")
    assert process.wait(60) == code


def test_arguments_reach_the_shell_to_the_letter(start, until):
    process = start('printf "%s|" "$@"\n', args="--a 'b c' \"$X\" --card @CARD@", env={"X": "y z"})
    send(process, "go")
    until("exit")
    send(process, "bye")
    assert ends_with(process)[1] == "--a|b c|y z|--card|@CARD@|"


def test_a_python_script_is_started_by_the_runner(start, until):
    process = start("import sys; print(sys.argv)\n", args="x", name="main.py", env={"MULTI_NODE_RUNNER": "python3 -B"})
    send(process, "go")
    until("exit")
    send(process, "bye")
    assert ends_with(process)[1].strip() == "['./main.py', 'x']"


NAMES = ("box", "steps", "job", "rc", "file", "line", "name", "found", "lacking", "missing", "words", "code", "killed")


def test_variables_of_the_user_reach_the_script_whatever_their_names(start, until):
    more = {"MADRUN_DEVICES": "/dev/null /dev/none", "MADRUN_PROGRAMS": "bash none"}
    process = start("".join(f"echo ${name}\n" for name in NAMES), env=dict.fromkeys(NAMES, "mine") | more)
    send(process, ".")
    send(process, "go")
    until("exit")
    send(process, "bye")
    assert ends_with(process)[1].split() == ["mine"] * len(NAMES)


def test_a_node_that_holds_runs_what_it_is_told_in_place_of_the_script(start, until, tmp_path):
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch/1.2.sh").write_text('echo "$name"; echo shown >>"$MADRUN_CONSOLE"; exit 3')
    process = start("echo the script", env={"MADRUN_HOLD": "1", "name": "mine"})
    send(process, "go")
    send(process, "launch 1.2")
    while not (code := tmp_path / "launch/1.2.code").exists() or not code.read_text():
        time.sleep(0.01)
    assert (code.read_text(), (tmp_path / "launch/1.2.out").read_text()) == ("3\n", "mine\n")
    send(process, "over")
    assert ("exit", "0") in until("exit")
    send(process, "bye")
    assert ends_with(process)[1] == "shown\n"


def test_a_program_that_is_lacking_is_told_and_what_stands_in_its_place_says_whether_it_can(start, until, tmp_path):
    (tmp_path / "bin").mkdir()
    for name, code in (("deepspeed", 0), ("accelerate", 127)):
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n[[ $1 == --ready ]] && exit {code}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    process = start(env={"MADRUN_PROGRAMS": "bash deepspeed accelerate no-such-program"})
    steps = until("ready")
    assert [step for step in steps if step[0] == "lacking"] == [("lacking", "accelerate", "no-such-program")]
    send(process, "bye")
    ends_with(process)


def test_nothing_starts_before_go(start, until):
    process = start("echo started\n")
    until("ready")
    send(process, ".")
    send(process, "bye")
    assert ends_with(process) == (0, "")


def test_device_files_that_are_not_there_are_reported_before_the_driver_is_ready(start, until):
    start(env={"MADRUN_DEVICES": "/dev/null /dev/nvidia7 /dev/zero /dev/dri/renderD199"})
    steps = until("ready")
    assert [words[0] for words in steps] == ["driver", "missing", "ready"]
    assert steps[1][1:] == ("/dev/nvidia7", "/dev/dri/renderD199")


def test_device_files_that_are_there_are_not_worth_a_word(start, until):
    start(env={"MADRUN_DEVICES": "/dev/null"})
    assert [words[0] for words in until("ready")] == ["driver", "ready"]


def test_stop_ends_the_script_with_term_first(start, until):
    process = start("trap 'echo terminated; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n")
    send(process, "go")
    assert process.stdout.readline() == "up\n"
    send(process, "stop 600")
    code, text = ends_with(process)
    assert code == 143
    assert text.splitlines()[-1] == "terminated"
    assert "stop" in [step[0] for step in until("end")]


def test_a_script_that_ignores_term_is_killed_after_the_grace_period(start, until):
    process = start("trap '' TERM\necho up\nwhile :; do sleep 0.05; done\n", grace=600.0)
    send(process, "go")
    assert process.stdout.readline() == "up\n"
    began = time.monotonic()
    send(process, "stop 3")
    assert process.wait(60) == 143
    assert time.monotonic() - began >= 0.3


def test_children_of_the_script_end_with_it(start, until):
    process = start("sleep 300 & echo $!\nwait\n")
    send(process, "go")
    child = int(process.stdout.readline())
    send(process, "stop 1")
    assert process.wait(60) == 143
    gone_within(child, 60)


def gone_within(pid, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"{pid} is still there")


def test_the_end_of_its_input_ends_the_lease(start, until):
    process = start("echo up; sleep 300\n")
    send(process, "go")
    assert process.stdout.readline() == "up\n"
    process.stdin.close()
    assert process.wait(60) == 98
    assert "lease" in [step[0] for step in until("end")]


@pytest.mark.slow
def test_silence_ends_the_lease(start, until):
    process = start("echo up; sleep 300\n", lease=1)
    send(process, "go")
    assert process.wait(60) == 98
    assert "lease" in [step[0] for step in until("end")]


def test_lines_renew_the_lease(start):
    for lease in (0.5, 3, 30):
        process, began, longest = start(lease=lease), time.monotonic(), 0.0
        while (said := time.monotonic()) < began + 1.6 * lease and process.poll() is None:
            with suppress(BrokenPipeError):
                send(process, ".")
            time.sleep(lease / 10)
            longest = max(longest, time.monotonic() - said)
        if longest < lease / 2:
            break  # else this test was slow itself: once more, with more time
    assert process.poll() is None
    send(process, "bye")
    assert process.wait(60) == 0


def test_a_signal_ends_the_script_in_order(start, until):
    process = start("trap 'echo terminated; exit 0' TERM\necho up\nwhile :; do sleep 0.05; done\n", grace=60.0)
    send(process, "go")
    assert process.stdout.readline() == "up\n"
    process.terminate()
    code, text = ends_with(process)
    assert code == 143
    assert text.splitlines()[-1] == "terminated"
    assert "signal" in [step[0] for step in until("end")]


def test_a_shell_that_died_without_a_word_is_noticed(start, until, tmp_path):
    process = start("kill -9 $PPID; sleep 300\n")
    send(process, "go")
    deadline = time.monotonic() + 60
    while "gone" not in (tmp_path / "steps").read_text() and time.monotonic() < deadline:
        send(process, ".")
        time.sleep(0.05)
    assert ("gone", "137") in until("gone")
    send(process, "bye")
    assert process.wait(60) == 137


def test_a_name_with_shell_characters_is_quoted():
    assert "bash './a b;c.sh' --x" in render("one", run_line("a b;c.sh", "--x"), 1.0)


def test_the_grace_period_is_the_cards_but_short_when_the_lease_has_ended():
    text = render("one", run_line("run.sh", ""), 30.0)
    assert "end_job 300;" in text
    assert "say lease\nend_job 20\n" in text


def test_a_driver_that_stays_has_reported_the_end_and_keeps_what_the_script_left(start, until, tmp_path):
    process = start("sleep 300 & echo $! > pid; exit 4\n")
    until("ready")
    send(process, "go")
    until("exit")
    send(process, "stay")
    assert ("end", "4") in until("end")
    assert process.poll() is None
    left = int((tmp_path / "work" / "pid").read_text())
    os.kill(left, 0)  # it is still there
    send(process, "bye")
    assert process.wait(60) == 4


@pytest.mark.slow
@pytest.mark.parametrize("line", ["stay", "bye"])
def test_the_exit_code_is_told_also_when_the_scripts_shell_is_slow_to_leave_after_its_last_word(start, until, line):
    last = 'say exit "$code"; '
    text = render("one", run_line("run.sh", ""), 1.0)
    assert text.count(last) == 1
    process = start("exit 4\n", text=text.replace(last, f"{last}sleep 0.5; "))
    until("ready")
    send(process, "go")
    until("exit")
    send(process, line)
    steps = until("end")
    assert [step for step in steps if step[0] in ("exit", "gone", "end")] == [
        ("exit", "4"),
        ("gone", "4"),
        ("end", "4"),
    ]
    if line == "stay":
        send(process, "bye")
    assert process.wait(60) == 4


def test_a_script_that_still_runs_is_ended_before_its_driver_stays(start, until):
    process = start("trap '' TERM; echo on; sleep 300; sleep 300\n")
    until("ready")
    send(process, "go")
    until("begin")
    send(process, "stay 3")
    steps = until("end")
    assert ("stop",) in steps
    assert process.poll() is None
    send(process, "bye")
    process.wait(60)


def test_a_driver_that_stays_still_ends_with_its_lease(start, until):
    process = start("exit 0\n")
    until("ready")
    send(process, "go")
    until("exit")
    send(process, "stay")
    until("end")
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(60) == 98


def test_the_environment_is_reported_as_it_came_and_secrets_by_name_alone(start, until, tmp_path):
    env = {"A": "1 2\n3", "EMPTY": "", "HF_TOKEN": "hidden", "my_Key": "hidden", "TOKENIZERS_PARALLELISM": "no"}
    start(env=env)
    until("ready")
    found = parse_environment((tmp_path / "environment").read_bytes())
    assert {name: found[name] for name in env} == env | {"HF_TOKEN": "***", "my_Key": "***"}
    assert b"hidden" not in (tmp_path / "environment").read_bytes()


@given(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True) | st.sampled_from(["TOKENIZER", "A_TOKENIZE_KEY"]))
@settings(max_examples=30)
def test_the_driver_and_the_plan_agree_on_what_is_a_secret(name):
    line = next(line for line in render("one", run_line("run.sh", ""), 1.0).splitlines() if "TOKENIZ" in line)
    script = f"name={name}; upper=${{name^^}}; entry=open\n{line}\n[[ $entry == open ]] || exit 1"
    done = subprocess.run(["bash", "-c", script], check=False)
    assert (done.returncode == 1) is is_secret(name)


def test_the_kernels_count_of_processes_killed_for_memory_is_told_at_the_end(start, until):
    process = start("exit 3\n")
    until("ready")
    send(process, "go")
    until("exit")
    send(process, "bye")
    steps = dict(step if len(step) > 1 else (*step, "") for step in until("end"))
    process.wait(60)
    assert steps.get("oom", "0") == "0"  # a host without such a counter says nothing


def test_a_box_that_is_ended_before_its_script_began_tells_of_no_memory(start, until):
    process = start()
    until("ready")
    send(process, "stop 5")
    assert not any(step[0] == "oom" for step in until("end"))
    process.wait(60)


def test_stacks_are_written_beside_the_driver_while_it_goes_on(start, until, tmp_path):
    (tmp_path / "evidence").mkdir()
    tool = tmp_path / "evidence/py-spy"
    tool.write_text('#!/bin/sh\necho "$@"\n')
    tool.chmod(0o755)
    process = start("echo $$ >pid; exec sleep 300\n", env={"RANK": "4"})
    until("ready")
    send(process, "go")
    pid = tmp_path / "work/pid"
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text().endswith("\n")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    number = pid.read_text().strip()
    send(process, f"examine {number} 999999999")
    until("examined")
    rank, waits, *stack = (tmp_path / "evidence" / number).read_text().splitlines()
    assert (rank, waits[:6], stack) == ("RANK=4", "WCHAN=", [f"dump --nonblocking --pid {number}"])
    assert "dump" in (tmp_path / "evidence/999999999").read_text()
    send(process, "stop 1")
    assert process.wait(60) == 143


@pytest.mark.parametrize(("mode", "kept"), [(0o755, True), (0o644, False)])
def test_what_keeps_ranks_apart_is_left_out_where_it_cannot_be_executed(start, until, tmp_path, mode, kept):
    (tmp_path / "rank").write_text("#!/usr/bin/env bash\nexit 0\n")
    (tmp_path / "rank").chmod(mode)
    process = start("echo ${PYTHON_EXEC-none}\n", env={"PYTHON_EXEC": str(tmp_path / "rank")})
    send(process, "go")
    assert process.stdout.readline() == (f"{tmp_path}/rank\n" if kept else "none\n")
    assert ("unranked",) not in until("ready") if kept else ("unranked",) in until("ready")


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (
            "0::/job",
            {"job/memory.events": "oom 9\noom_kill 4\noom_group_kill 0\n", "memory.events": "oom_kill 7\n"},
            "4",
        ),
        ("0::/", {"memory.events": "low 0\noom_kill 7\n"}, "7"),
        ("0::/not/seen/from/here", {"memory.events": "oom_kill 2\n"}, "2"),
        ("4:memory:/j\n0::/j", {"memory/j/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"}, "3"),
        ("4:cpu,memory:/j", {"memory/memory.oom_control": "oom_kill 1\n"}, "1"),
        ("4:memory:/j", {"memory/memory.oom_control": "oom_kill_disable 0\n"}, ""),  # a kernel that does not count
        ("3:cpuset:/", {}, ""),
        ("", {}, ""),
    ],
)
def test_kills_for_memory_are_read_of_the_own_cgroup_in_both_versions(tmp_path, membership, files, expected):
    text = render("one", run_line("run.sh", ""), 1.0)
    body = text[text.index("ooms() {") : text.index("tell_ooms() {")]
    (tmp_path / "membership").write_text(f"{membership}\n" if membership else "")
    for name, content in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(content)
    body = body.replace("/sys/fs/cgroup", str(tmp_path / "cgroup")).replace(
        "/proc/$$/cgroup", str(tmp_path / "membership")
    )
    done = subprocess.run(["bash", "-uc", f'{body}\nooms; echo "$_killed"'], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (expected, "")


def test_what_writes_into_a_broken_pipe_ends_as_in_any_shell(start, until):
    process = start("while :; do echo y; done | head -1; echo ${PIPESTATUS[0]}\n")
    until("ready")
    send(process, "go")
    until("exit")
    send(process, "bye")
    assert ends_with(process) == (0, "y\n141\n")
