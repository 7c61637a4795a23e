"""The rendered file of Compose, really brought up: two nodes on this machine, each a container of the job's image."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
USER = 12345  # nobody of this machine
WAITS = 'echo "rank $NODE_RANK of $NNODES"; while [ ! -e "$MARK" ]; do sleep 0.1; done; echo "performance: 2 speed"\n'


class Services:
    """What one rendered file brings up."""

    def __init__(self, repository: Any, engine: Any, card: str, *words: str) -> None:
        self.repository, self.engine = repository, engine
        self.folder = repository.folder / "up"
        done = repository.run("render", "--tags", card, "--on", "compose", "--nodes", "2", "--to", "up", *words)
        assert done.returncode == 0, done.stderr
        self.id = json.loads((self.folder / "launch.json").read_text())["id"]
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.repository.folder / "up.log").open("wb")
        with log:
            self.child = subprocess.Popen(
                ["sh", "up/up.sh"],
                cwd=self.repository.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        """As a person reads it: without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", (self.repository.folder / "up.log").read_text())

    def end(self, seconds: float = 120) -> int:
        """The exit code of up.sh."""
        assert self.child is not None
        return self.child.wait(seconds)

    def containers(self) -> list[dict[str, Any]]:
        """Running or not."""
        return list(self.engine.containers(all=True, filters={"label": f"madrun.launch={self.id}"}))

    def clear(self) -> None:
        """Ends what a test that failed has left."""
        if self.child is not None and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait(60)
        for one in self.containers():
            self.engine.remove_container(one["Id"], force=True)
        for one in self.engine.networks(filters={"label": f"madrun.launch={self.id}"}):
            self.engine.remove_network(one["Id"])


def container_env(engine: Any, launch: str, rank: int) -> dict[str, str]:
    """The script's environment in the running container of one node of a launch, empty while there is none."""
    (one,) = engine.containers(filters={"label": [f"madrun.launch={launch}", f"madrun.node={rank}"]}) or (None,)
    if one is None:
        return {}
    for pid in engine.top(one["Id"], "-o pid,comm")["Processes"]:
        try:
            text = Path(f"/proc/{pid[0]}/environ").read_text()
        except OSError:
            continue
        env = dict(line.partition("=")[::2] for line in text.split("\0") if line)
        if "MADRUN_RUN_ID" in env or "MULTI_NODE_RUNNER" in env:
            return env
    return {}


@pytest.fixture
def bring_up(docker_repository: Any, engine: Any) -> Any:
    """Renders a card of the repository for Compose; what it brings up is gone after the test."""
    if shutil.which("docker-compose") is None:
        pytest.skip("needs docker-compose")
    made: list[Services] = []

    def render(card: str, *words: str) -> Services:
        made.append(Services(docker_repository, engine, card, *words))
        return made[-1]

    yield render
    for services in made:
        services.clear()


def gone(services: Services) -> bool:
    """No container and no network of the launch is left."""
    label = f"madrun.launch={services.id}"
    return not services.containers() and not services.engine.networks(filters={"label": label})


def test_two_services_are_one_run_with_the_environment_of_two_nodes(
    bring_up: Any, docker_repository: Any, engine: Any
) -> None:
    mark = docker_repository.folder / "go on"
    docker_repository.add("pair", WAITS)
    services = bring_up("pair", "--set", f"compose.user={USER}:{USER}", "--env", f"MARK={mark}", "--env", "A=$b 'c'")
    (docker_repository.folder / "results").mkdir()
    for path in (docker_repository.folder, *docker_repository.folder.rglob("*")):
        os.chown(path, USER, USER)
    services.start()
    envs: list[dict[str, str]] = [{}, {}]

    def both() -> bool:
        envs[:] = [container_env(engine, services.id, rank) for rank in (0, 1)]
        return all(envs)

    until(both, 120, "both nodes' scripts")
    secret = (services.folder / "private.env").read_text().partition("MADRUN_SECRET=")[2].strip()
    assert len(secret) == 64
    assert not [env for env in envs if secret in str(env)]
    assert not [one for one in services.containers() if secret in str(engine.inspect_container(one["Id"]))]
    assert [env["NODE_RANK"] for env in envs] == ["0", "1"]
    assert {(env["NNODES"], env["A"]) for env in envs} == {("2", "$b 'c'")}
    assert len({(env["MASTER_ADDR"], env["MASTER_PORT"]) for env in envs}) == 1
    mark.touch()
    assert services.end() == 0, services.output()
    assert gone(services)
    (record,) = docker_repository.records()
    assert (record["status"], record["nnodes"], record["metrics"][0]["value"]) == ("SUCCESS", 2, 2)
    assert "SUCCESS" in (docker_repository.folder / "results/perf.csv").read_text()
    written = [path for path in (docker_repository.folder / "results").rglob("*") if path.stat().st_uid != USER]
    assert written == []
    assert "pair" in docker_repository.run("report").stdout


def test_a_script_that_fails_on_node_1_is_node_0s_verdict_and_the_exit_code(
    bring_up: Any, docker_repository: Any
) -> None:
    docker_repository.add("uneven", 'if [ "$NODE_RANK" = 1 ]; then echo the cause; exit 9; fi; sleep 600\n')
    services = bring_up("uneven")
    services.start()
    assert services.end() == 3, services.output()
    assert re.search(r"node-0\S*\s+\|\s+script error: the script ended with exit code 9 on node 1", services.output())
    (record,) = docker_repository.records()
    assert (record["culprit"]["node"], record["culprit"]["exit_code"]) == (1, 9)
    assert f"again: sh {services.folder}/up.sh" in services.output()
    assert gone(services)


@pytest.mark.parametrize("end", ["Ctrl-C", pytest.param("SIGTERM of up.sh alone", marks=pytest.mark.long)])
def test_a_signal_ends_all_nodes_in_order(bring_up: Any, docker_repository: Any, end: str) -> None:
    docker_repository.add("endless", "echo it runs; trap 'echo it ends; exit 1' TERM; sleep 600 & wait\n")
    services = bring_up("endless")
    services.start()
    until(lambda: services.output().count("it runs") == 2, 120, "both nodes' scripts")
    assert services.child is not None
    if end == "Ctrl-C":
        os.killpg(services.child.pid, signal.SIGINT)
    else:
        services.child.terminate()
    assert services.end() == 130, services.output()
    assert gone(services)
    (record,) = docker_repository.records()
    assert (record["exit_code"], record["culprit"]["kind"]) == (130, "interrupted")
    logs = docker_repository.folder.glob("results/runs/*/node-*/console.log")
    assert ["it ends" in log.read_text() for log in logs] == [True, True]


def test_an_image_without_madrun_says_so(bring_up: Any, docker_repository: Any, engine: Any) -> None:
    docker_repository.add("plain", "echo performance: 1 x\n")
    services = bring_up("plain", "--set", "compose.madrun=installed")
    services.start()
    assert services.end() not in (0, 130), services.output()
    assert "madrun: not found" in services.output()
    assert gone(services)
