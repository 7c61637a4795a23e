"""What the end-to-end tests share: a repository of small cards, the command line, a real engine, real images."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e_parts import ROOT
from mad_bed import BASE, Checkout, check_out
from runner_image import nodes_with_runners
from runner_image import runners_image as make_runners_image
from slurm_nodes import Cluster, slurm_cluster
from ssh_nodes import SshBed, ssh_bed, ssh_nodes
from three_nodes import Node, nodes

MADRUN = [sys.executable, "-m", "madrun"]


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """A client of the real engine; without one the tests that need it are skipped, which CI counts as a failure."""
    from madrun.errors import EngineError
    from madrun.probe.engine import connect

    try:
        client, _ = connect()
    except EngineError as error:
        pytest.skip(f"needs a docker engine: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def three(engine: Any) -> Iterator[list[Node]]:
    """Three nodes with engines of their own, for all tests of a session; each test leaves them clean."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to enter the nodes' namespaces")
    with nodes(engine) as made:
        yield made


@pytest.fixture(scope="session")
def base_image(engine: Any) -> str:
    """The CPU base image that the quick start uses."""
    done = subprocess.run(["bash", str(ROOT / "scripts/base_image.sh")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def runners_image(engine: Any, base_image: str) -> str:
    """The base image with Open MPI, MPICH, OpenSSH, accelerate and deepspeed."""
    return make_runners_image()


@pytest.fixture(scope="session")
def two_with_runners(engine: Any, runners_image: str) -> Iterator[list[Node]]:
    """Two nodes with engines of their own, whose job image is that one; each test leaves them clean."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to enter the nodes' namespaces")
    with nodes_with_runners(engine, runners_image) as made:
        yield made


@dataclass
class Repository:
    """A model repository in a temporary directory."""

    folder: Path
    image: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def add(self, name: str, text: str, /, **card: Any) -> None:
        """A card with this run script; `image` of the fixture unless the card says otherwise."""
        home = self.folder / "models" / name
        home.mkdir(parents=True)
        data = {"name": name, "script": "run.sh", "images": {"cpu": {"image": self.image}}} | card
        (home / "model.yaml").write_text(yaml.safe_dump(data))
        (home / "run.sh").write_text(text)

    def run(self, *words: str, timeout: float = 240, **env: str) -> subprocess.CompletedProcess[str]:
        """`madrun WORDS` to its end."""
        return subprocess.run(
            [*MADRUN, *words],
            cwd=self.folder,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`madrun WORDS` in a session of its own; killed at the end of the test if it still runs."""
        number = len(self.started)
        with (self.folder / f"out-{number}.txt").open("w") as target:
            child = subprocess.Popen(
                [*MADRUN, *words],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=target,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.started.append(child)
        return child

    def output(self, child: subprocess.Popen[str]) -> str:
        """What a started command has printed so far."""
        return (self.folder / f"out-{self.started.index(child)}.txt").read_text()

    def records(self) -> list[dict[str, Any]]:
        """Every record, oldest first."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("results/runs/*/record.json"))]

    def end(self) -> None:
        """Ends what a test left running."""
        for child in self.started:
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
            child.wait(60)


@pytest.fixture
def make_repository(tmp_path: Path) -> Iterator[Callable[[str], Repository]]:
    """Makes a repository whose cards use the image of this name."""
    made: list[Repository] = []

    def make(image: str) -> Repository:
        made.append(Repository(tmp_path, image))
        return made[-1]

    yield make
    for repository in made:
        repository.end()


@pytest.fixture
def host_repository(tmp_path: Path) -> Iterator[Repository]:
    """A repository for the process runtime: no image is ever used."""
    made = Repository(tmp_path, "none")
    yield made
    made.end()


@pytest.fixture
def docker_repository(tmp_path: Path, base_image: str) -> Iterator[Repository]:
    """A repository whose cards run in containers of the base image."""
    made = Repository(tmp_path, base_image)
    yield made
    made.end()


@pytest.fixture(params=["docker", "process"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repository]:
    """A repository, once for each runtime; `runtime` names it."""
    image = request.getfixturevalue("base_image") if request.param == "docker" else "none"
    made = Repository(tmp_path, image)
    yield made
    made.end()


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> str:
    """The runtime that the `repository` fixture stands for in this test."""
    return str(request.node.callspec.params["repository"])


@pytest.fixture(scope="session")
def mad_base(base_image: str, engine: Any) -> None:
    """The image that the Dockerfiles of the hand-written MAD repository name; it stays, as another name of the base."""
    engine.tag(base_image, BASE)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A clean checkout of that repository."""
    return check_out(tmp_path)


@pytest.fixture(scope="session")
def bare(engine: Any) -> Iterator[list[Node]]:
    """Three nodes that ssh reaches, with an empty engine each and no madrun, for all tests of a session."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to enter the nodes' namespaces")
    with ssh_nodes(engine) as made:
        yield made


@pytest.fixture(scope="session")
def cluster(engine: Any, base_image: str) -> Iterator[Cluster]:
    """A SLURM of a head and two nodes, for all tests of a session."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to enter the nodes' namespaces")
    with slurm_cluster(engine, base_image) as made:
        yield made


@pytest.fixture
def slurm(cluster: Cluster) -> Iterator[Cluster]:
    """The same, idle and empty; each test leaves it so."""
    cluster.prepare()
    yield cluster
    cluster.clean()


@pytest.fixture
def by_ssh(bare: list[Node], tmp_path: Path) -> Iterator[SshBed]:
    """A head with these hosts, a home and a repository of its own; each test leaves the nodes clean."""
    with ssh_bed(bare, tmp_path) as made:
        yield made
