"""What a user gives a runner reaches its ranks: a configuration file, a range of nodes; PATH need not have its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import two_nodes
from own_ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.torch, pytest.mark.beside]
NO_NAMES = {"PATH": "/usr/bin:/bin"}  # programs that pip has installed lie in /usr/local/bin
RUN = "$MULTI_NODE_RUNNER train.py\n"
SHOW = """
import os
import torch, torch.distributed as dist
from accelerate import Accelerator
accelerator, total = Accelerator(), torch.ones(1)
dist.all_reduce(total)
print(accelerator.process_index, int(total), dist.get_backend(), os.environ["ACCELERATE_MIXED_PRECISION"])
if accelerator.is_main_process:
    print("performance: 1 speed")
"""
ZERO = """
import os
import torch, deepspeed
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # the image has no compiler for it
deepspeed.init_distributed()
model, config = torch.nn.Linear(4, 1), os.environ["DEEPSPEED_CONFIG"]
engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)
engine.backward(engine(torch.ones(2, 4)).sum())
engine.step()
names = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")
print("zero", engine.zero_optimization_stage(), engine.world_size, *map(os.environ.get, names))
if os.environ["RANK"] == "0":
    print("performance: 1 speed")
"""
SUM = """
import os
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1)
dist.all_reduce(total)
print("rank", dist.get_rank(), "of", int(total))
if dist.get_rank() == 0:
    print("performance: 1 speed")
"""


def add(repository: Any, train: str, **files: str) -> None:
    repository.add("trained", RUN)
    for name, text in {"train.py": train, **files}.items():
        (repository.folder / "models/trained" / name).write_text(text)


def logs(repository: Any) -> dict[str, str]:
    """What each rank has printed, by the name of its log, over all nodes."""
    return {path.name: path.read_text() for path in repository.folder.glob("results/runs/*/node-*/ranks/*.log")}


def test_accelerate_hears_the_users_file_also_where_path_has_it_not(make_repository: Any, runners_image: str) -> None:
    repository = make_repository(runners_image)
    config = "distributed_type: MULTI_GPU\nmixed_precision: bf16\nnum_processes: 2\n"
    add(repository, SHOW, **{"acc.yaml": config, "wrong.yaml": f"{config}num_machines: 3\nrdzv_backend: c10d\n"})
    args = {"RUNNER": "accelerate", "NPROC_PER_NODE": 2, "CONFIG_FILE": "acc.yaml"}
    context = {"docker_env_vars": NO_NAMES, "multi_node_args": args}
    done = repository.run("run", "--tags", "trained", "-c", str(context))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no accelerate on PATH; starting python3 -m accelerate" in done.stdout
    assert "had defaults used instead" not in done.stdout
    assert [logs(repository)[f"rank-{rank}.log"].splitlines()[0] for rank in (0, 1)] == [
        "0 2 gloo bf16",
        "1 2 gloo bf16",
    ]
    args["CONFIG_FILE"] = "wrong.yaml"
    wrong = repository.run("run", "--tags", "trained", "-c", str(context))
    assert wrong.returncode == 4
    assert "num_machines: found 3, planned: 1" in wrong.stderr
    assert "rdzv_backend: found 'c10d', planned: static" in wrong.stderr


def test_deepspeed_shards_by_the_users_file_and_reads_no_hostfile_that_lies_about(
    make_repository: Any, runners_image: str, tmp_path: Path
) -> None:
    repository = make_repository(runners_image)
    config = {"train_micro_batch_size_per_gpu": 2, "zero_optimization": {"stage": 2}}
    config["optimizer"] = {"type": "Adam", "params": {"torch_adam": True}}
    add(repository, ZERO, **{"zero.json": json.dumps(config)})
    (tmp_path / "hostfile").write_text("elsewhere slots=7\n")
    args = {"RUNNER": "deepspeed", "NPROC_PER_NODE": 2, "CONFIG_FILE": "zero.json", "RUNNER_ARGS": "--quiet"}
    context = {"multi_node_args": args, "docker_mounts": {"/job/hostfile": str(tmp_path / "hostfile")}}
    done = repository.run("run", "--tags", "trained", "-c", str(context))
    assert done.returncode == 0, done.stdout + done.stderr
    for rank in (0, 1):
        assert f"zero 2 2 {rank} {rank} 2 0" in logs(repository)[f"rank-{rank}.log"]


def test_a_range_of_nodes_meets_and_has_every_rank_that_is_planned(docker_repository: Any) -> None:
    add(docker_repository, SUM)
    port = free_port()
    contexts = [two_nodes(rank, port, NPROC_PER_NODE="2", ELASTIC="1:2") for rank in (0, 1)]
    environment = f"'docker_env_vars': {NO_NAMES}"
    both = [
        docker_repository.start("run", "--tags", "trained", "-c", f"{context[:-1]}, {environment}}}")
        for context in contexts
    ]
    for node in both:
        node.wait(120)
    outputs = [docker_repository.output(node) for node in both]
    assert [node.returncode for node in both] == [0, 0], outputs
    assert all("no torchrun on PATH; starting python3 -m torch.distributed.run" in output for output in outputs)
    assert {name: text.splitlines()[0] for name, text in logs(docker_repository).items()} == {
        f"rank-{rank}.log": f"rank {rank} of 4" for rank in range(4)
    }
    (record,) = docker_repository.records()
    assert any("torchrun numbers the nodes itself" in note for note in record["notes"])
