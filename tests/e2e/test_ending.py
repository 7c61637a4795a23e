"""However a run is ended, nothing of it is left: also a child that left its session and ignores TERM."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import containers, two_nodes, until
from own_ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]

STUBBORN = """
trap '' TERM INT HUP
setsid bash -c 'trap "" TERM INT HUP; echo $$ > child.pid; while :; do sleep 1; done' {mark} &
echo started
while :; do sleep 1; done
"""


def survivors(mark: str) -> list[str]:
    found = subprocess.run(["pgrep", "-f", f"done {mark}$"], capture_output=True, text=True).stdout.split()
    return [pid for pid in found if "Z" not in state(pid)]


def state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.fixture
def stubborn(repository: Any) -> str:
    mark = f"stubborn-{repository.folder.name}-{id(repository)}"
    repository.add("stubborn", STUBBORN.replace("{mark}", mark))
    return mark


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGHUP],
    ids=["kill -9", "ctrl-c", "term", "closed terminal"],
)
def test_a_signal_to_madrun_ends_everything(
    repository: Any, runtime: str, stubborn: str, engine: Any, number: signal.Signals
) -> None:
    child = repository.start("run", "--tags", "stubborn", "--runtime", runtime)
    until(lambda: bool(survivors(stubborn)), 60, "the stubborn child")
    child.send_signal(number)
    until(lambda: not survivors(stubborn) and not containers(engine, repository.folder), 60, "the end")
    code = child.wait(60)
    if number == signal.SIGKILL:
        assert repository.records() == []
        assert "unfinished" in repository.run("report").stderr
        return
    assert code == 130
    (record,) = repository.records()
    assert (record["status"], record["exit_code"], record["culprit"]["kind"]) == ("FAILURE", 130, "interrupted")
    assert number.name in repository.output(child)


def test_a_second_signal_does_not_wait_for_the_grace_period(
    repository: Any, runtime: str, stubborn: str, engine: Any
) -> None:
    child = repository.start("run", "--tags", "stubborn", "--runtime", runtime, "-c", "{'grace': '900s'}")
    until(lambda: bool(survivors(stubborn)), 60, "the stubborn child")
    child.send_signal(signal.SIGINT)
    until(lambda: asked_to_end(repository), 60, "the first signal's way to the script")
    child.send_signal(signal.SIGINT)
    until(lambda: not survivors(stubborn) and not containers(engine, repository.folder), 60, "the end")
    assert child.wait(60) == 130


def asked_to_end(repository: Any) -> bool:
    """Whether the driver has begun to end the script."""
    found = repository.folder.glob("results/runs/*/node-0/box/steps")
    return any(line.endswith(" stop") for path in found for line in path.read_text().splitlines())


@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "ctrl-c"])
def test_one_node_of_two_that_ends_takes_the_other_along(
    repository: Any, runtime: str, stubborn: str, engine: Any, number: signal.Signals, victim: int
) -> None:
    words = ("run", "--tags", "stubborn", "--runtime", runtime, "-c")
    port = free_port()
    nodes = [repository.start(*words, two_nodes(rank, port)) for rank in (0, 1)]
    until(lambda: len(survivors(stubborn)) == 2, 60, "both stubborn children")
    nodes[victim].send_signal(number)
    until(lambda: not survivors(stubborn) and not containers(engine, repository.folder), 60, "the end")
    codes = [node.wait(60) for node in nodes]
    if number == signal.SIGINT:
        assert codes == [130, 130]
        assert all(f"SIGINT on node {victim}" in repository.output(node) for node in nodes)
    else:
        assert codes[1 - victim] == 3
        assert f"node {victim}" in repository.output(nodes[1 - victim])
        assert "was lost" in repository.output(nodes[1 - victim])


def test_a_signal_does_not_wait_for_a_build(docker_repository: Any) -> None:
    source = {"cpu": {"dockerfile": "Dockerfile", "base": docker_repository.image}}
    docker_repository.add("builds", "echo performance: 1 speed\n", images=source)
    mark = f"sleeping-{docker_repository.folder.name}"
    text = f'ARG BASE_DOCKER\nFROM ${{BASE_DOCKER}}\nSHELL ["bash", "-c"]\nRUN exec -a {mark} sleep 900\n'
    (docker_repository.folder / "models/builds/Dockerfile").write_text(text)
    child = docker_repository.start("run", "--tags", "builds")
    until(lambda: bool(sleepers(mark)), 60, "the build step")
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 130
    until(lambda: not sleepers(mark), 60, "the end of the build step")
    assert docker_repository.records()[0]["culprit"]["kind"] == "interrupted"


def sleepers(mark: str) -> list[str]:
    found = subprocess.run(["pgrep", "-f", f"^{mark}"], capture_output=True, text=True).stdout.split()
    return [pid for pid in found if "Z" not in state(pid)]


IMPATIENT_CLIENT = """
import madrun.probe.engine as engine
engine._ANSWER_S = 15
from madrun.cli import main
main()
"""


def test_a_script_may_be_silent_for_longer_than_the_client_waits_for_answers(docker_repository: Any) -> None:
    docker_repository.add("silent", "sleep 20\necho performance: 1 speed\n")
    words = [sys.executable, "-c", IMPATIENT_CLIENT, "run", "--tags", "silent"]
    done = subprocess.run(words, cwd=docker_repository.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert docker_repository.records()[0]["timings"]["script"] > 15
