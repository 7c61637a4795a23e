"""Peak memory of real training steps, for the tests of the prediction; run as a script beside the card's files.

    memory_meter.py {allocator,fake} OUT ARGS...      (ARGS: command lines of train.py, one a word)

`allocator`: the steps really run, and torch's CPU allocator reports every block it gives and takes back (the events
of torch.profiler's profile_memory), summed up in order of time.
`fake`: the steps run on FakeTensorMode, where tensors have shapes but no memory; every new storage is counted until it
dies. That measures models which do not fit into this machine; on those that do, both agree to some bytes.
"""

from __future__ import annotations

import json
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import job as job_module
import torch
import torch.distributed as dist
import train
from bench import World, open_world, run_to_exit
from build import build_mesh, layout_of, shard_model
from launch import Launch
from memory import predict
from model import PRESETS, Llama
from optimizer import build_optimizer
from recipe import Recipe, read_recipe
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REAL_STEPS, FAKE_STEPS = 2, 1  # states of the optimizer exist from the start


def allocator_peak(work: Callable[[], object]) -> int:
    """The most bytes that tensors made by `work` held at one time."""
    from torch._C._profiler import _EventType
    from torch.autograd.profiler import profile

    with profile(profile_memory=True, use_kineto=True, use_cpu=True) as profiler:
        kept = work()
    events = [
        event for event in walk(profiler.kineto_results.experimental_event_tree()) if event.tag == _EventType.Allocation
    ]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_time_ns):
        held += event.extra_fields.alloc_size
        peak = max(peak, held)
    del kept
    return peak


def walk(events: list[Any]) -> Iterator[Any]:
    for event in events:
        yield event
        yield from walk(event.children)


class Storages(TorchDispatchMode):
    """Counts the bytes of all storages that operators made and that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        new = [self.enter(leaf) for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        if any(new):
            self.count()
        return result

    def enter(self, tensor: torch.Tensor) -> bool:
        storage = (tensor._local_tensor if isinstance(tensor, DTensor) else tensor).untyped_storage()
        known = self.alive.get(storage._cdata)
        if known is not None and known() is not None:
            return False
        self.alive[storage._cdata] = weakref.ref(storage)
        return True

    def count(self) -> None:
        # FSDP frees a storage by resizing it to nothing, so sizes are read anew each time.
        storages = {key: storage for key, ref in self.alive.items() if (storage := ref()) is not None}
        self.alive = {key: self.alive[key] for key in storages}
        self.peak = max(self.peak, sum(storage.nbytes() for storage in storages.values()))


def fake_peak(recipe: Recipe, world: World) -> int:
    mesh = build_mesh(recipe, world) if recipe.shard == "fsdp" else None
    real = train.to_device
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, Storages() as storages:
        train.to_device = lambda tokens, device: mode.from_tensor(real(tokens, device))
        model = Llama(PRESETS[recipe.preset])
        for block in model.blocks:
            block.recompute = recipe.ac
        if mesh is not None:
            shard_model(model, recipe, mesh)
        state = torch.bfloat16 if recipe.optim_state == "bf16" else torch.float32
        optimizer = build_optimizer(model.parameters(), state)
        text = job_module.open_text(recipe, world)
        deal = job_module.Deal(samples=len(text), world=world.size, rank=0, mbs=recipe.mbs, seed=0)
        batches = iter(job_module.Loader(text, deal))
        job = job_module.Job(
            recipe=recipe,
            world=world,
            began=0,
            model=model,
            optimizer=optimizer,
            text=text,
            batches=batches,
            meter=None,
            prediction=None,
            capacity=None,
        )
        for step in range(FAKE_STEPS):
            train.train_step(job, step)
    train.to_device = real
    return storages.peak


def real_peak(recipe: Recipe, world: World) -> int:
    def steps() -> object:
        job = job_module.build_job(recipe, world, time.monotonic())
        for step in range(REAL_STEPS):
            train.train_step(job, step)
        return job

    return allocator_peak(steps)


def measure(method: str, args: str, world: World) -> dict[str, int]:
    settled = read_recipe(args.split()).on(device="cpu", world=world.size)
    recipe = replace(settled, reshard="never" if settled.reshard == "auto" else settled.reshard)
    with train.attention_in(recipe, world.device):
        found = (real_peak if method == "allocator" else fake_peak)(recipe, world)
    return {"measured": found, "predicted": predict(PRESETS[recipe.preset], layout_of(recipe, world)).total}


def main() -> int:
    method, out, *lines = sys.argv[1:]
    if method == "allocator":
        with open_world(60) as world:
            found = {line: measure(method, line, world) for line in lines}
            rank = world.rank
    else:
        from torch.testing._internal.distributed.fake_pg import FakeStore

        rank, size = 0, 1
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)
        launch = Launch(rank=0, size=size, local_rank=0, local_size=size, node=0)
        world = World(launch=launch, device=torch.device("cpu"), store=None, join_s=0, free_memory=None)
        found = {line: measure(method, line, world) for line in lines}
    if rank == 0:
        Path(out).write_text(json.dumps(found))
    return 0


run_to_exit(main)
