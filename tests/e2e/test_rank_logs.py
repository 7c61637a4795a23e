"""With torchrun what each rank prints is also kept apart, and the rank that ended first is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import two_nodes, until
from own_ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.torch, pytest.mark.beside]
TWO = '{"multi_node_args": {"NPROC_PER_NODE": 2}}'
TRAIN = """
import os, sys, time
import torch.distributed as dist
dist.init_process_group("gloo")
rank = dist.get_rank()
# whole lines at once: what print writes in two parts mixes where nobody keeps the ranks apart
sys.stdout.write(f"rank {rank} is here with {os.environ['API_TOKEN'] if 'API_TOKEN' in os.environ else 'no token'}\\n")
sys.stderr.write(f"rank {rank} warns\\n")
dist.barrier()
"""
# at once: an interpreter that is taken down closes its connections first, and torchrun may end it for its victim's end
END_OF_3 = "if rank == 3: os.write(2, b'a reason of its own\\n'), os._exit(1)\n"
MEASURED = "dist.barrier()\nif rank == 0: print('performance: 5 speed')\n"


def add(repository: Any, train: str, script: str = "$MULTI_NODE_RUNNER train.py --size 3\n") -> None:
    repository.add("ranks", script)
    (repository.folder / "models/ranks/train.py").write_text(train)


def node(repository: Any, rank: int = 0) -> Path:
    (found,) = repository.folder.glob(f"results/runs/*/node-{rank}")
    return Path(found)


def without_torchruns_own(text: str) -> list[str]:
    return sorted(line for line in text.splitlines() if line.startswith(("rank", "performance")))


def test_every_rank_has_a_log_and_the_console_is_what_it_is_without(docker_repository: Any) -> None:
    add(docker_repository, TRAIN + MEASURED)
    done = docker_repository.run("run", "--tags", "ranks", "-c", TWO)
    assert done.returncode == 0, done.stdout
    ranks = node(docker_repository) / "ranks"
    assert sorted(path.name for path in ranks.iterdir()) == ["rank-0.end", "rank-0.log", "rank-1.end", "rank-1.log"]
    assert without_torchruns_own((ranks / "rank-1.log").read_text()) == ["rank 1 is here with no token", "rank 1 warns"]
    console = without_torchruns_own((node(docker_repository) / "console.log").read_text())
    own = TWO[:-1] + ', "docker_env_vars": {"PYTHON_EXEC": "python3"}}'
    other = docker_repository.run("run", "--tags", "ranks", "-c", own, "--results", "other")
    assert other.returncode == 0, other.stdout
    (plain,) = docker_repository.folder.glob("other/runs/*/node-0")
    assert console == without_torchruns_own((plain / "console.log").read_text())
    assert not (plain / "ranks").exists()
    record = json.loads((plain.parent / "record.json").read_text())
    assert any("no logs of single ranks: docker_env_vars sets PYTHON_EXEC" in note for note in record["notes"])


def test_secrets_are_masked_in_the_logs_of_ranks(docker_repository: Any) -> None:
    add(docker_repository, TRAIN + MEASURED)
    done = docker_repository.run("run", "--tags", "ranks", "-c", TWO, "--env", "API_TOKEN=very-secret-value")
    assert done.returncode == 0, done.stdout
    log = (node(docker_repository) / "ranks/rank-1.log").read_text()
    assert "rank 1 is here with ***" in log
    found = [path for path in docker_repository.folder.glob("results/**/*") if path.is_file()]
    assert not [path for path in found if b"very-secret-value" in path.read_bytes()]


def test_a_rank_that_is_killed_is_named_with_its_own_last_lines(docker_repository: Any) -> None:
    add(docker_repository, TRAIN + "if rank == 1: os.kill(os.getpid(), 9)\ndist.barrier()\n")
    done = docker_repository.run("run", "--tags", "ranks", "-c", TWO)
    assert done.returncode == 3
    assert "rank 1 (node 0) ended first, by signal 9 (SIGKILL)" in done.stdout
    (record,) = docker_repository.records()
    assert (record["culprit"]["rank"], record["culprit"]["kind"]) == (1, "killed")
    assert record["culprit"]["last_lines"][-1] == "rank 1 warns"
    assert "exitcode  : -9" in (node(docker_repository) / "console.log").read_text()
    assert "rank 0 warns" in (node(docker_repository) / "ranks/rank-0.log").read_text()


def test_of_two_nodes_the_rank_that_ended_first_is_the_culprit(docker_repository: Any) -> None:
    add(docker_repository, TRAIN + END_OF_3 + "dist.barrier()\n")
    port = free_port()
    words = ["run", "--tags", "ranks"]
    nodes = [
        docker_repository.start(*words, "--results", f"results-{rank}", "-c", two_nodes(rank, port, NPROC_PER_NODE="2"))
        for rank in (0, 1)
    ]
    assert [node.wait(120) for node in nodes] == [3, 3]
    for started in nodes:
        assert "rank 3 (node 1) ended first, with exit code 1" in docker_repository.output(started)
    (run,) = docker_repository.folder.glob("results-0/runs/*")
    record = json.loads((run / "record.json").read_text())
    assert (record["culprit"]["node"], record["culprit"]["rank"]) == (1, 3)
    assert record["culprit"]["last_lines"][-1] == "a reason of its own"
    assert "a reason of its own" in (run / "node-1/ranks/rank-3.log").read_text()


def test_a_rank_may_be_followed_while_it_runs_and_ends_with_the_run(docker_repository: Any) -> None:
    add(docker_repository, TRAIN + "time.sleep(900)\n")
    started = docker_repository.start("run", "--tags", "ranks", "-c", TWO[:-1] + ', "grace": "1s"}')
    pattern = "results/runs/*/node-0/box/ranks/rank-1.log"

    def printed() -> bool:
        return any("rank 1 warns" in path.read_text() for path in docker_repository.folder.glob(pattern))

    until(printed, 60, "the rank's first line")
    started.terminate()
    assert started.wait(60) == 130
    assert "rank 1 warns" in (node(docker_repository) / "ranks/rank-1.log").read_text()
