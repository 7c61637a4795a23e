"""A suite of real runs: its driver is killed and interrupted, another goes on, and what failed alone is run again."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import until

pytestmark = pytest.mark.e2e

SUITE = """name: trial
defaults: {runtime: process, docker_env_vars: {MODE: fast}}
cases:
  - tags: quick
    sweep: {model_args: ["--bs 1", "--bs 2"]}
  - {name: fails once, tags: fails}
  - {name: waits, tags: waits, timeout: 60s}
"""
QUICK = 'echo "performance: $2 speed"\n'
FAILS = 'test -e {flag} && echo "performance: 4 speed"\n'
WAITS = 'echo $$ > {pid}; while [ ! -e {flag} ]; do sleep 0.1; done; echo "performance: 3 speed"\n'


def lines(folder: Path) -> list[dict[str, Any]]:
    files = list(folder.glob("results/suites/*/journal.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


@pytest.mark.beside
def test_a_suite_survives_the_kill_of_its_driver_and_an_interrupt_and_ends_with_all_its_numbers(
    host_repository: Any,
) -> None:
    folder: Path = host_repository.folder
    flag, fixed, pid = folder / "flag", folder / "fixed", folder / "pid"
    host_repository.add("quick", QUICK)
    host_repository.add("fails", FAILS.format(flag=fixed))
    host_repository.add("waits", WAITS.format(flag=flag, pid=pid))
    (folder / "suite.yaml").write_text(SUITE)

    killed = host_repository.start("suite", "suite.yaml")
    until(pid.exists, 60, "the case that waits")
    until(lambda: pid.read_text().strip() != "", 60, "its pid")
    script = int(pid.read_text())
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    pid.unlink()

    # It waits until nothing is left of the case that the killed one had begun, and begins that one anew.
    second = host_repository.start("suite", "--resume")
    until(lambda: pid.exists() and pid.read_text().strip() != "", 60, "the case that waits, again")
    assert not is_alive(script)
    refused = host_repository.run("suite", "--resume")
    assert refused.returncode == 2
    assert "is being run by another madrun" in refused.stderr
    second.send_signal(signal.SIGINT)
    assert second.wait(60) == 130
    assert "1 of 4 cases are left: madrun suite" in host_repository.output(second)
    begun = [line["case"] for line in lines(folder) if line["event"] == "running"]
    assert begun == ["quick model_args=--bs 1", "quick model_args=--bs 2", "fails once", "waits", "waits"]

    flag.touch()
    third = host_repository.run("suite", "suite.yaml", "--resume", "--json", "--quiet")
    told = json.loads(third.stdout)
    assert third.returncode == told["exit_code"] == 3
    assert [case["status"] for case in told["cases"]] == ["success", "success", "failed", "success"]
    assert [len(case["attempts"]) for case in told["cases"]] == [1, 1, 1, 3]
    assert [one["status"] for one in told["cases"][3]["attempts"]] == ["interrupted", "interrupted", "success"]
    assert told["valid_numbers"] == 3
    assert told["node_hours_per_valid_number"] > 0

    fixed.touch()
    fourth = host_repository.run("suite", "last", "--rerun", "failed")
    assert fourth.returncode == 0, fourth.stdout + fourth.stderr
    assert "4 success; 4 valid numbers" in fourth.stdout
    records = {record["run_id"]: record for record in host_repository.records()}
    runs = [run["run_id"] for case in told["cases"] for one in case["attempts"] for run in one["runs"]]
    assert set(runs) <= set(records)
    assert len({record["provenance"]["case"] for record in records.values()}) == len(records)
    assert all(record["command"][1] == "run" for record in records.values())

    changed = SUITE.replace("60s", "61s")
    (folder / "suite.yaml").write_text(changed)
    other = host_repository.run("suite", "suite.yaml", "--resume")
    assert other.returncode == 2
    assert "waits: was --tags waits --set runtime=process" in other.stderr


@pytest.mark.beside
def test_a_sweep_of_a_command_runs_each_combination_once(host_repository: Any) -> None:
    host_repository.add("quick", QUICK)
    done = host_repository.run(
        "run", "--tags", "quick", "--runtime", "process", "--quiet", "--json", "--sweep", "model_args=--bs 1,--bs 2"
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [case["attempts"][0]["runs"][0]["value"] for case in told["cases"]] == [1.0, 2.0]


@pytest.mark.docker
def test_a_suite_is_one_job_whose_cases_are_steps_and_what_was_interrupted_goes_on_as_an_array(slurm: Any) -> None:
    pid = slurm.shared / "begun"
    slurm.add("quick", QUICK)
    slurm.add("waits", "touch /shared/begun; sleep 120\n")
    (slurm.shared / "suite.yaml").write_text(
        "defaults: {runtime: process}\ncases:\n- {tags: quick, args: --bs 4, sweep: {nnodes: [1, 2]}}\n"
        "- {tags: waits, nnodes: 2}\n"
    )
    first = slurm.madrun("suite", "suite.yaml", "--on", "slurm", "--time", "15")
    until(pid.exists, 90, "the case that waits")
    assert len(slurm.jobs()) == 1
    first.signal(signal.SIGINT)
    assert first.wait(120) == 130, first.output
    assert "1 of 3 cases are left" in first.output
    slurm.until_nothing_left()
    assert [record["nnodes"] for record in slurm.records() if record["valid"]] == [1, 2]

    (slurm.shared / "models/waits/run.sh").write_text(QUICK)
    array = slurm.madrun("suite", "suite.yaml", "--resume", "--array", "--on", "slurm", "--time", "15", "--json")
    assert array.wait(120) == 0, array.output
    slurm.until_nothing_left(60)
    status = slurm.madrun("suite", "--status", "--json", "--results", "/shared/results")
    assert status.wait(60) == 3  # its script has no arguments, so that it prints no number
    told = json.loads(status.output)
    assert [case["status"] for case in told["cases"]] == ["success", "success", "invalid"]
    assert [len(case["attempts"]) for case in told["cases"]] == [1, 1, 2]
    assert told["valid_numbers"] == 2
