"""Runs are seen, followed, stopped and cleared away by their own commands: real runs, real containers.

Each test has a registry of its own. `--all` and `gc --yes` are typed only where no engine answers, for with one they
would end what else this user runs on the machine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import containers, two_nodes, until
from own_ports import free_port

from madrun.node.seeing.census import Census
from madrun.node.seeing.presence import LOCK, sweep
from madrun.node.seeing.remains import of_runs, take_away
from madrun.results.survey import look

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.alone]
SLOW = 'for i in {1..9000}; do echo "performance: $i speed"; sleep 0.1; done\n'


@pytest.fixture
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of this test's own; gives the folder of its entries."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/madrun/agents"


@pytest.fixture
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No container engine answers: nothing but the processes of this test can be seen."""
    for name in ("DOCKER_HOST", "CONTAINER_HOST"):
        monkeypatch.setenv(name, f"unix://{tmp_path}/no-engine.sock")


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]


def running(folder: Path, count: int = 1) -> Callable[[], bool]:
    return lambda: [entry["phase"] for entry in entries(folder)] == ["running"] * count


def shown(repository: Any, *words: str) -> Any:
    return json.loads(repository.run(*words, "--json").stdout)


def ours(document: dict[str, Any], run_id: str, kind: str) -> list[dict[str, Any]]:
    return [found for found in document[kind] if found["run_id"] == run_id]


def test_a_run_is_seen_followed_and_stopped(repository: Any, runtime: str, apart: Path, engine: Any) -> None:
    repository.add("slow", SLOW)
    child = repository.start("run", "--tags", "slow", "--runtime", runtime)
    until(running(apart), 60, "the run")
    run_id = entries(apart)[0]["run_id"]
    (agent,) = ours(shown(repository, "ps"), run_id, "agents")
    assert (agent["pid"], agent["phase"], agent["runtime"]) == (child.pid, "running", runtime)
    assert agent["container_state"] == ("running" if runtime == "docker" else None)
    until(lambda: shown(repository, "status", run_id)["nodes"][0]["metric"] is not None, 60, "a metric")
    status = repository.run("status", "last")
    assert (status.returncode, status.stdout.startswith(f"RUNNING {run_id}")) == (0, True)
    follower = repository.start("logs", run_id, "-f")
    until(lambda: "performance: 20 speed" in repository.output(follower), 60, "the follower")
    stopped = repository.run("stop", run_id)
    assert (stopped.returncode, stopped.stdout) == (0, f"ended: {run_id} (1 agent)\n")
    assert (child.wait(60), follower.wait(60)) == (130, 0)
    (record,) = repository.records()
    console = repository.folder / "results/runs" / run_id / "node-0/console.log"
    assert repository.output(follower) == console.read_text()
    assert (record["status"], record["culprit"]["kind"]) == ("FAILURE", "interrupted")
    assert not containers(engine, repository.folder)
    assert entries(apart) == []
    ended = repository.run("status", run_id)
    assert (ended.returncode, "interrupted" in ended.stdout) == (3, True)
    again = repository.run("stop", run_id)
    assert (again.returncode, f"nothing of {run_id} runs on this host" in again.stderr) == (2, True)


@pytest.mark.parametrize("stopped_at", [pytest.param(0, marks=pytest.mark.long), 1])
def test_stopping_a_run_by_either_node_ends_both(
    repository: Any, runtime: str, apart: Path, engine: Any, stopped_at: int
) -> None:
    repository.add("slow", SLOW)
    port = free_port()
    nodes = [
        repository.start(
            "run", "--tags", "slow", "--runtime", runtime, "--results", f"r{rank}", "-c", two_nodes(rank, port)
        )
        for rank in (0, 1)
    ]
    until(running(apart, 2), 60, "both nodes")
    run_id = entries(apart)[0]["run_id"]
    board = repository.folder / "r0/runs" / run_id / "status.json"
    until(
        lambda: board.exists() and "speed" in json.loads(board.read_text())["nodes"].get("1", {}).get("metric", ""),
        60,
        "news",
    )
    elsewhere = repository.run("logs", run_id, "--results", "r0", "--node", "1")
    assert elsewhere.returncode == 2
    assert f":{repository.folder}/r1/runs/{run_id}/node-1" in elsewhere.stderr
    if runtime == "process":  # as on a host of its own; containers lead to both agents
        (apart / f"{run_id}-n{1 - stopped_at}.json").rename(apart / "hidden")
    done = repository.run("stop", run_id)
    agents = 1 if runtime == "process" else 2
    assert (done.returncode, f"({agents} agent" in done.stdout) == (0, True), done.stderr
    assert [node.wait(60) for node in nodes] == [130, 130]
    assert not containers(engine, repository.folder)
    status = shown(repository, "status", run_id, "--results", "r1")
    assert (status["state"], status["exit_code"], status["ended"]["exit_code"]) == ("finished", 3, 130)


def test_a_madrun_that_waits_for_its_nodes_is_seen_and_stopped(
    host_repository: Any, apart: Path, no_engine: None
) -> None:
    host_repository.add("slow", SLOW)
    child = host_repository.start("run", "--tags", "slow", "--runtime", "process", "-c", two_nodes(0, free_port()))
    until(lambda: bool(entries(apart)), 60, "the waiting entry")
    done = host_repository.run("ps")
    assert [line.split()[:4] for line in done.stdout.splitlines()[1:]] == [["waiting", "slow", "0/2", "join"]]
    assert host_repository.run("stop", "--all").returncode == 0
    assert child.wait(60) == 130
    assert entries(apart) == []


@pytest.fixture
def paused(docker_repository: Any, apart: Path, engine: Any) -> Any:
    """A run whose agent was killed while its container was paused, so that no lease ends it; its id."""
    docker_repository.add("slow", f"mkdir made; touch made/by-root\n{SLOW}")
    child = docker_repository.start("run", "--tags", "slow", "--runtime", "docker")
    until(running(apart), 60, "the run")
    by_root = "results/runs/*/node-0/box/work/made/by-root"
    until(lambda: bool(list(docker_repository.folder.glob(by_root))), 60, "the script's file")
    (container,) = containers(engine, docker_repository.folder)
    engine.pause(container["Id"])
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    yield entries(apart)[0]["run_id"]
    for left in containers(engine, docker_repository.folder):
        engine.remove_container(left["Id"], force=True)


def test_a_paused_container_of_a_killed_agent_is_marked_and_ended(
    docker_repository: Any, paused: str, apart: Path, engine: Any
) -> None:
    document = shown(docker_repository, "ps")
    (orphan,) = ours(document, paused, "containers")
    assert (orphan["orphan"], orphan["state"], orphan["agent"]) == (True, "paused", "dead")
    assert ours(document, paused, "agents") == []
    assert "orphan (paused)" in docker_repository.run("ps").stdout
    status = docker_repository.run("status", paused)
    assert (status.returncode, "no living agent" in status.stdout) == (3, True)
    assert paused in docker_repository.run("report").stderr
    shown_only = shown(docker_repository, "gc")
    kinds = {item["kind"] for item in shown_only["items"] if paused in item["name"]}
    assert kinds == {"container", "entry", "box"}
    assert containers(engine, docker_repository.folder)
    done = docker_repository.run("stop", paused)
    assert (done.returncode, "1 left-over container" in done.stdout) == (0, True)
    assert not containers(engine, docker_repository.folder)
    assert entries(apart) == []


def test_the_next_run_sweeps_what_a_killed_one_left(docker_repository: Any, paused: str, engine: Any) -> None:
    docker_repository.add("quick", "echo performance: 1 speed\n")
    done = docker_repository.run("run", "--tags", "quick", "--runtime", "docker")
    assert done.returncode == 0
    assert f"removed madrun-{paused}-n0" in done.stderr
    assert not containers(engine, docker_repository.folder)


def test_a_box_with_files_of_root_is_cleared_away(docker_repository: Any, paused: str, engine: Any) -> None:
    assert sweep(engine, os.getuid())
    run = docker_repository.folder / "results/runs" / paused
    assert (run / "node-0/box/work/made/by-root").exists()
    (remain,) = of_runs([look(run)], None)
    assert take_away(Census(engines={"docker": engine}), remain) == ""
    assert not (run / "node-0/box").exists()
    assert not (run / "node-0" / LOCK).exists()
    assert (run / "node-0/console.log").exists()


def test_what_a_run_that_was_kept_alive_leaves_after_kill_9_is_ended(
    docker_repository: Any, apart: Path, engine: Any
) -> None:
    docker_repository.add("quick", "echo performance: 1 speed\n")
    child = docker_repository.start("run", "--tags", "quick", "--runtime", "docker", "--keep-alive")
    until(lambda: [entry["phase"] for entry in entries(apart)] == ["kept alive"], 60, "the container that is kept")
    run = next((docker_repository.folder / "results/runs").iterdir())
    assert shown(docker_repository, "status", "last")["state"] == "finished"
    assert [remain.kind for remain in of_runs([look(run)], 0)] == []
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    until(lambda: not containers(engine, docker_repository.folder), 60, "the end of the lease")
    assert [remain.kind for remain in of_runs([look(run)], None)] == ["box"]


ESCAPED = "setsid sleep {mark} &\nsleep {mark}\n"


def sleepers(mark: str) -> list[str]:
    found = subprocess.run(["pgrep", "-f", f"^sleep {mark}$"], capture_output=True, text=True).stdout.split()
    return [pid for pid in found if lives(pid)]


def lives(pid: str) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("command", ["stop", "gc", "run"])
def test_processes_whose_supervisor_cannot_end_them_are_seen_and_ended(
    host_repository: Any, apart: Path, no_engine: None, how: str, command: str
) -> None:
    mark = f"9{os.getpid()}.{time.monotonic_ns() % 100000}"
    host_repository.add("escaped", ESCAPED.replace("{mark}", mark))
    child = host_repository.start("run", "--tags", "escaped", "--runtime", "process")
    until(lambda: len(sleepers(mark)) == 2, 60, "the processes")
    (entry,) = entries(apart)
    os.kill(entry["box_pid"], signal.SIGSTOP)  # else it ends them all itself, within 3 s of its agent's death
    child.send_signal(signal.SIGKILL)
    child.wait(60)
    if how == "killed":
        os.kill(entry["box_pid"], signal.SIGKILL)
    found = ours(shown(host_repository, "ps"), entry["run_id"], "processes")
    assert set(map(int, sleepers(mark))) <= {process["pid"] for process in found}
    assert found
    host_repository.add("quick", "echo performance: 1 speed\n")
    words = {"stop": ("stop", entry["run_id"]), "gc": ("gc", "--yes"), "run": ("run", "--tags", "quick")}[command]
    done = host_repository.run(*words)
    assert done.returncode == 0, done.stderr
    assert sleepers(mark) == []
    assert (entries(apart) == []) == (command != "run")  # the next run ends what would be measured with it, no more
    assert shown(host_repository, "ps")["processes"] == []


def test_another_users_run_is_listed_and_left_alone(docker_repository: Any, apart: Path, engine: Any) -> None:
    """The container says that it is another user's; this user is not root's: that is played by its label alone."""
    labels = {
        "madrun.run": "20200101T000000Z-x-abcdef-1",
        "madrun.node": "0",
        "madrun.owner": "4242",
        "madrun.card": "x",
    }
    config = {"Image": docker_repository.image, "Cmd": ["sleep", "60"], "Labels": labels}
    container = engine.create_container_from_config(config, f"madrun-test-{os.getpid()}-other")["Id"]
    try:
        document = shown(docker_repository, "ps")
        (other,) = ours(document, labels["madrun.run"], "containers")
        assert (other["uid"], other["agent"], other["orphan"]) == (4242, "unknown", False)
        assert labels["madrun.run"] not in docker_repository.run("gc").stdout
        assert sweep(engine, os.getuid()) == []
        assert engine.containers(all=True, filters={"id": container})
    finally:
        engine.remove_container(container, force=True)
