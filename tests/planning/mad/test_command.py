"""The lines that run a MAD card, in a real driver: steps in order, exit codes, arguments to the letter."""

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.node.steps import Steps
from madrun.planning.driver import render
from madrun.planning.mad import command
from madrun.planning.mad.command import run_lines, step_paths
from madrun.spec.mad import Around, Placed


def drive(folder, files, args="", around=None, script="run.sh", stop_at="", **env):
    """The exit code, what was printed, and the steps of a driver over these files of its run directory.

    `stop_at`: the first line that is printed, at which the driver is told to end the run.
    """
    place = folder / "work/run_directory"
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name).write_text(text)
    (folder / "steps").write_text("")
    text = render("one", run_lines(script, args, False, "run_directory", around), 1.0, True)
    (folder / "driver.sh").write_text(text, encoding="utf-8")
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | env
    child = subprocess.Popen(
        ["bash", str(folder / "driver.sh")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
    )
    steps = Steps(folder / "steps")
    try:
        child.stdin.write(b"go\n")
        child.stdin.flush()
        first = child.stdout.readline() if stop_at else b""
        assert first.decode().strip() == stop_at
        while not stop_at and child.poll() is None and not {"exit", "gone"} & set(steps.read()):
            pass
        printed = (first + child.communicate(b"stop 100\n" if stop_at else b"bye\n", timeout=60)[0]).decode()
        steps.read()
    finally:
        child.kill()
        child.wait()
        steps.close()
    return child.returncode, printed, {name: step.value for name, step in steps.seen.items()}


def test_steps_run_in_order_in_the_run_directory_and_are_reported_with_their_codes(tmp_path):
    around = Around(pre=(Placed("x/a.sh", "a.sh", "1 '2 3'"),), post=(Placed("x/b.sh", "b.sh"),))
    files = {"run.sh": "echo script $PWD", "a.sh": 'printf "%s|" pre "$@"; echo', "b.sh": "echo post; exit 4"}
    code, printed, steps = drive(tmp_path, files, around=around)
    assert printed.splitlines() == ["pre|1|2 3|", f"script {tmp_path}/work/run_directory", "post"]
    names = [name for name in steps if name.startswith(("pre", "script", "post"))]
    assert names == ["pre.1", "pre.1.exit", "script", "script.exit", "post.1", "post.1.exit"]
    assert (code, steps["exit"], steps["post.1.exit"]) == (0, "0", "4")
    assert step_paths(around) == {"pre.1": "x/a.sh", "post.1": "x/b.sh"}


def test_a_pre_script_that_fails_ends_the_run_with_its_code_and_nothing_follows(tmp_path):
    around = Around(pre=(Placed("a", "a.sh"), Placed("b", "b.sh")), post=(Placed("c", "c.sh"),))
    files = {"run.sh": "echo script", "a.sh": "exit 7", "b.sh": "echo b", "c.sh": "echo c"}
    code, printed, steps = drive(tmp_path, files, around=around)
    assert (code, printed, steps["pre.1.exit"]) == (7, "", "7")


def test_post_scripts_run_after_a_script_that_failed_and_the_code_is_the_scripts(tmp_path):
    around = Around(post=(Placed("c", "c.sh"),))
    code, printed, _ = drive(tmp_path, {"run.sh": "exit 3", "c.sh": "echo c"}, around=around)
    assert (code, printed) == (3, "c\n")


@pytest.mark.e2e
def test_a_step_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "STEP_LIMIT_S", 1)
    around = Around(pre=(Placed("a", "a.sh"),))
    files = {"run.sh": "echo script", "a.sh": "sleep 60 & echo $!; wait"}
    code, printed, steps = drive(tmp_path, files, around=around)
    assert (code, steps["pre.1.exit"]) == (124, "124")
    assert printed.count("\n") == 1
    status = subprocess.run(["ps", "-o", "stat=", "-p", printed.strip()], capture_output=True, text=True, check=False)
    assert status.stdout.strip() in ("", "Z")


def test_no_file_of_the_driver_is_open_in_what_it_starts(tmp_path):
    show = "for fd in /proc/self/fd/*; do [[ -e $fd ]] && echo ${fd##*/}; done"
    around = Around(pre=(Placed("a", "a.sh"),))
    _, printed, _ = drive(tmp_path, {"run.sh": show, "a.sh": show}, around=around)
    assert set(printed.split()) <= {"0", "1", "2", "3", "255"}


@pytest.mark.parametrize(
    ("front", "printed"),
    [
        ("", "script a b\n"),
        ("env X=1 ", "script a b 1\n"),
        ("echo first && ", "first\nscript a b\n"),
        ("X=2", "script a b 2\n"),
        ("bash -c 'echo \"$@\"' - ", "bash run.sh a b\n"),
    ],
)
def test_what_encapsulates_the_script_stands_in_front_of_its_command(tmp_path, front, printed):
    files = {"run.sh": 'echo script "$@" $X'}
    assert drive(tmp_path, files, "a b", Around(front=front))[1] == printed


def test_unset_variables_in_the_arguments_are_empty_as_in_any_shell(tmp_path):
    assert drive(tmp_path, {"run.sh": 'printf "%s|" "$@"'}, '--a "$NOT_SET" --b $ALSO_NOT -c')[1] == "--a||--b|-c|"


@pytest.mark.parametrize(
    ("args", "printed"),
    [
        ("'a b' \"c$X\" d\\ e", "a b|cy|d e|"),
        ("a; echo -n 'after'", "a|after"),
        ("$(echo sub) `echo tick`", "sub|tick|"),
        ("'line\nbreak' ü 日本 🙂", "line\nbreak|ü|日本|🙂|"),
        ("a\necho -n second", "a|second"),
        ("@RUN@ @CARD@ {run_id}", "@RUN@|@CARD@|{run_id}|"),
        ("a | tr a b", "b|"),
        ("a # b", "a|"),
    ],
)
def test_arguments_are_read_by_the_shell_byte_for_byte(tmp_path, args, printed):
    assert drive(tmp_path, {"run.sh": 'printf "%s|" "$@"'}, args, X="y")[1] == printed


def test_a_python_script_is_started_by_python_and_a_name_with_a_blank_is_one_word(tmp_path):
    files = {"my main.py": "import sys; print(sys.argv)"}
    assert drive(tmp_path, files, "1", script="my main.py")[1] == "['my main.py', '1']\n"


@settings(max_examples=15)
@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=20))
def test_any_quoted_text_comes_through(tmp_path_factory, text):
    import shlex

    folder = tmp_path_factory.mktemp("any")
    assert drive(folder, {"run.sh": 'printf "%s" "$1"'}, shlex.quote(text))[1] == text


def test_in_a_container_git_may_read_the_checkout_and_models_go_to_the_cache():
    text = run_lines("run.sh", "", True)
    assert "cd /myworkspace/run_directory || return 97" in text
    assert "safe" in text
    assert "HF_HUB_CACHE=/madrun/cache/hub" in text
    assert "HF_HUB_CACHE" not in run_lines("run.sh", "", False)


def test_a_step_has_its_grace_period_and_nothing_follows_it_when_the_run_is_stopped(tmp_path):
    around = Around(pre=(Placed("a", "a.sh"), Placed("b", "b.sh")), post=(Placed("c", "c.sh"),))
    waits = "trap 'sleep 0.2; echo tidied; exit 0' TERM; echo waits; sleep 60 & wait"
    files = {"run.sh": "echo script", "a.sh": waits, "b.sh": "echo b", "c.sh": "echo c"}
    code, printed, steps = drive(tmp_path, files, around=around, stop_at="waits")
    assert printed.splitlines() == ["waits", "tidied"]
    assert (code, steps["pre.1.exit"]) == (143, "143")


def test_what_ends_with_a_blank_ends_with_it(tmp_path):
    assert drive(tmp_path, {"run.sh": 'printf "%s|" "$@"'}, "a b\\ ")[1] == "a|b |"


def test_gits_settings_of_a_home_that_is_mounted_are_left_alone():
    text = run_lines("run.sh", "", True)
    assert text.index("/proc/self/mountinfo") < text.index("[safe]")


@pytest.mark.parametrize(
    ("vendor", "image", "found"), [("AMD", "", "/opt/rocm"), ("AMD", "/r7", "/r7"), ("CPU", "", "")]
)
def test_an_amd_container_always_has_the_path_of_its_rocm(vendor, image, found):
    line = next(line for line in run_lines("run.sh", "", True).splitlines() if "ROCM_PATH=" in line)
    env = {"MAD_GPU_VENDOR": vendor} | ({"ROCM_PATH": image} if image else {})
    said = subprocess.run(
        ["bash", "-uc", f'{line}; echo "${{ROCM_PATH-}}"'], env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == found
