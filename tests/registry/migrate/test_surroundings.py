"""The script that gives a migrated one what it had."""

import subprocess

import pytest

from madrun.registry.migrate.surroundings import wrapper


@pytest.fixture
def work(tmp_path):
    (tmp_path / "run_directory").mkdir()
    return tmp_path


def start(work, script, *args, **env):
    (work / "run_directory/it's.sh").write_text(script)
    (work / "run.sh").write_text(wrapper("it's.sh"))
    command = ["bash", "run.sh", *args]
    return subprocess.run(command, cwd=work, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", **env})


def test_arguments_directory_and_exit_code_are_the_scripts_own(work):
    done = start(work, 'pwd; printf "<%s>" "$@"; echo a > ../out; exit 7', "x y", "$HOME", "")
    assert done.returncode == 7
    assert done.stdout == f"{work}/run_directory\n<x y><$HOME><>"
    assert (work / "out").read_text() == "a\n"


def test_results_that_lie_in_the_run_directory_are_brought_up_and_those_above_stay(work):
    start(work, "echo inner > perf.csv", MAD_OUTPUT_CSV="perf.csv")
    assert (work / "perf.csv").read_text() == "inner\n"
    start(work, "echo above > ../perf.csv", MAD_OUTPUT_CSV="perf.csv")
    assert (work / "perf.csv").read_text() == "above\n"
