"""Runs cards as the harness does: their files in a fresh folder, `bash run.sh ARGS`, real torchrun processes."""

from __future__ import annotations

import csv
import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from own_ports import free_port

REPOSITORY = Path(__file__).parents[2]
MODELS = REPOSITORY / "models"
LIMIT_S = 400  # of one run; on a busy machine one took 120 s, and only a hang comes near this


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one node's run left."""

    code: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def metrics(self) -> dict[str, float]:
        """The performance lines, by metric."""
        lines = [line.split() for line in self.stdout.splitlines() if line.startswith("performance:")]
        return {name: float(number) for _, number, name in lines}

    @property
    def losses(self) -> list[float]:
        """Loss of the global batch, step by step."""
        with (self.folder / "steps.csv").open() as file:
            return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="session")
def load() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the cards by its name, as a script beside it would."""
    folders = [str(MODELS / "shared"), str(MODELS / "llama2_7b"), str(MODELS / "sanity")]
    before = set(sys.modules)
    sys.path[:0] = folders
    yield importlib.import_module
    for folder in folders:
        sys.path.remove(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(MODELS)):
            del sys.modules[name]


def stage(card: str, folder: Path) -> Path:
    """A copy of the card's files in `folder`, laid out as for a run."""
    declared = yaml.safe_load((MODELS / card / "model.yaml").read_text())
    folder.mkdir(parents=True)
    for path in [*(MODELS / card).glob("*.*"), *(MODELS / card / name for name in declared["files"])]:
        shutil.copy(path, folder)
    return folder


def patch(path: Path, old: str, new: str) -> None:
    """Replace `old`, which must be there exactly once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))


def run(*nodes: Path, args: str = "", nproc: int = 1, env: dict[str, str] | None = None) -> list[Outcome]:
    """Run staged cards, one folder a node, with torchrun on the loopback interface; all end within LIMIT_S."""
    port = free_port()
    processes = []
    for index, folder in enumerate(nodes):
        command = (
            f"torchrun --nnodes {len(nodes)} --node_rank {index} --nproc_per_node {nproc} "
            f"--master_addr 127.0.0.1 --master_port {port}"
        )
        topology = {"NNODES": str(len(nodes)), "NODE_RANK": str(index), "NPROC_PER_NODE": str(nproc)}
        settings = {"MULTI_NODE_RUNNER": command, **topology, **(env or {})}
        processes.append(start(folder, ["bash", "run.sh", *args.split()], settings))
    return [wait(process, folder) for process, folder in zip(processes, nodes, strict=True)]


def start(folder: Path, command: list[str], settings: dict[str, str]) -> subprocess.Popen[bytes]:
    """The command in its folder, with nothing of the tests' own launch variables in its environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(folder), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    env["MAD_DATAHOME"] = str(MODELS / "data" / "tiny_corpus")
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        return subprocess.Popen(command, cwd=folder, env=env | settings, stdout=out, stderr=err)


def wait(process: subprocess.Popen[bytes], folder: Path) -> Outcome:
    """The outcome; a process that does not end is stopped (torchrun then stops its ranks) and fails the test."""
    try:
        code = process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)  # torchrun gives its ranks 30 s to end
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        pytest.fail(f"still running after {LIMIT_S} s:\n{(folder / 'stderr').read_text()[-3000:]}")
    texts = [(folder / name).read_text(errors="replace") for name in ("stdout", "stderr")]
    return Outcome(code=code, stdout=texts[0], stderr=texts[1], folder=folder)


@dataclass(frozen=True)
class Cards:
    """The pieces above, for tests, which cannot import from a conftest."""

    tmp: Path

    models = MODELS
    patch = staticmethod(patch)
    start = staticmethod(start)
    wait = staticmethod(wait)
    free_port = staticmethod(free_port)

    def stage(self, card: str, name: str = "node0") -> Path:
        return stage(card, self.tmp / name)

    def run(self, *nodes: Path, args: str = "", nproc: int = 1) -> list[Outcome]:
        return run(*nodes, args=args, nproc=nproc)

    def declared_metrics(self, card: str, *, required: bool = True) -> set[str]:
        """The metrics a run of the card must print; with `required=False` those it may print."""
        declared = yaml.safe_load((MODELS / card / "model.yaml").read_text())["metrics"]
        return {name for name, entry in declared.items() if entry.get("required", True) or not required}


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    return Cards(tmp_path)


@pytest.fixture(scope="module")
def shared_cards(tmp_path_factory: pytest.TempPathFactory) -> Cards:
    """For runs whose outcome several tests of a module look at."""
    return Cards(tmp_path_factory.mktemp("cards"))
