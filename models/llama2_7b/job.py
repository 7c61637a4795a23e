"""Everything one rank trains with, and how far it has come: built from a recipe, or taken up from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import energy
import torch
from bench import World, gather
from build import build_model, open_text, plan_memory, shard_size
from capacity import Capacity
from checkpoint import Keeper, find_checkpoint, open_directory
from data import Batch, Deal, Ledger, Loader, Text, expected_ledger
from memory import Prediction
from optimizer import build_optimizer
from recipe import Recipe
from saved import CheckpointError, Progress
from torch import nn


@dataclass(kw_only=True)
class Steps:
    """What a stretch of steps left on this rank; losses are this rank's own."""

    losses: list[float] = field(default_factory=list)
    grad_norms: list[float] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    data_wait_s: float = 0.0
    energy_j: list[float | None] = field(default_factory=list)

    def __add__(self, later: Steps) -> Steps:
        return Steps(
            losses=self.losses + later.losses,
            grad_norms=self.grad_norms + later.grad_norms,
            step_ms=self.step_ms + later.step_ms,
            wall_s=self.wall_s + later.wall_s,
            data_wait_s=self.data_wait_s + later.data_wait_s,
            energy_j=self.energy_j + later.energy_j,
        )


@dataclass(kw_only=True)
class Job:
    """Everything one rank trains with."""

    recipe: Recipe
    world: World
    began: float
    model: nn.Module
    optimizer: torch.optim.Optimizer
    text: Text
    batches: Iterator[Batch]
    meter: energy.Meter | None
    prediction: Prediction
    capacity: Capacity | None
    keeper: Keeper | None = None
    past: Progress = field(default_factory=Progress)
    """What was done before this process, where it goes on from a checkpoint."""
    probe_before: float = 0.0
    changed: int = 0
    done: Steps = field(default_factory=Steps)
    """All steps of this process."""
    ledger: Ledger = field(default_factory=Ledger)
    data_wait_s: float = 0.0

    @property
    def global_batch(self) -> int:
        """Samples of one optimizer step over all ranks."""
        return self.recipe.samples_per_rank * self.world.size

    @property
    def step(self) -> int:
        """Optimizer steps done, those before a checkpoint included."""
        return self.past.step + len(self.done.losses)


def build_job(recipe: Recipe, world: World, began: float) -> Job:
    """A job ready for its next step: the first, or the one after a checkpoint."""
    recipe, prediction, capacity = plan_memory(recipe, world)
    text = open_text(recipe, world)
    model, llama = build_model(recipe, world)
    optimizer = build_optimizer(model.parameters(), torch.bfloat16 if recipe.optim_state == "bf16" else torch.float32)
    on_gpu = world.device.type == "cuda"
    properties = torch.cuda.get_device_properties(world.device) if on_gpu else None
    job = Job(
        recipe=recipe,
        world=world,
        began=began,
        model=model,
        optimizer=optimizer,
        text=text,
        batches=iter(()),
        meter=energy.open_meter(properties, hip=bool(torch.version.hip)) if on_gpu else None,
        prediction=prediction,
        capacity=capacity,
    )
    if recipe.checkpoint:
        job.keeper = build_keeper(job, llama)
        go_on(job)
    place = job.past.samples // (world.size * recipe.mbs)
    deal = Deal(samples=len(text), world=world.size, rank=world.rank, mbs=recipe.mbs, seed=recipe.seed)
    job.batches = iter(Loader(text, deal, place))
    return job


def build_keeper(job: Job, llama: nn.Module) -> Keeper:
    """The keeper of the job's checkpoints, with what makes two runs the same run."""
    recipe, world = job.recipe, job.world
    same = ("preset", "seq", "lr", "warmup", "seed", "precision", "optim_state", "ac", "compile", "data", "attn")
    settings = {name: getattr(recipe, name) for name in same} | {
        "global batch": job.global_batch,
        "samples of the text": len(job.text),
        "mixed precision by": "FSDP" if recipe.shard in ("fsdp", "hsdp") else "autocast",
    }
    directory = Path(str(recipe.checkpoint)).absolute()
    return Keeper(
        directory=directory,
        world=world,
        keep=recipe.keep,
        shard_size=shard_size(recipe, world),
        settings=settings,
        sharing={"ranks": world.size, "shard": recipe.shard, "mbs": recipe.mbs, "grad_accum": recipe.grad_accum},
        model=llama,
        optimizer=job.optimizer,
        lock=open_directory(world, directory),
    )


def go_on(job: Job) -> None:
    """Load the checkpoint that the recipe asks for, if any, and prove that the data before it is the same."""
    keeper, recipe, world = job.keeper, job.recipe, job.world
    assert keeper is not None
    found = find_checkpoint(world, keeper.directory, recipe.resume, keeper.settings)
    if found is None:
        return
    folder, meta = found
    job.past = past = meta.progress
    if past.step >= recipe.total_steps:
        raise CheckpointError(
            f"{folder} is of step {past.step}, and --warmup {recipe.warmup} + --steps {recipe.steps} = "
            f"{recipe.total_steps}: nothing is left to do; give a larger --steps"
        )
    if Ledger(*past.ledger) != expected_ledger(job.text, recipe.seed, past.samples):
        raise CheckpointError(f"the text is another one than {folder} was trained on")
    notes = keeper.resume(meta, folder)
    if world.rank == 0:
        job.ledger = Ledger(*past.ledger)
        print("\n".join([f"resumed step {past.step} from {folder}", *notes]), flush=True)


def progress(job: Job) -> Progress:
    """How far the job has come, over all ranks; every rank must call it."""
    fed = sum(gather(job.world, job.ledger), Ledger())
    return Progress(
        step=job.step,
        samples=job.step * job.global_batch,
        losses=mean_losses(job),
        grad_norms=job.past.grad_norms + job.done.grad_norms,
        probe_before=job.probe_before,
        changed=job.changed,
        ledger=(fed.tokens, fed.samples, fed.fingerprint),
    )


def mean_losses(job: Job) -> list[float]:
    """The loss of the global batch of every step so far; every rank must call it."""
    ranks = gather(job.world, job.done.losses)
    return job.past.losses + [sum(step) / job.world.size for step in zip(*ranks, strict=True)]
