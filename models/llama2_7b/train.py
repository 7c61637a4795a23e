"""Pre-trains a Llama 2 for some steps and says how fast, if the training was sound.

    torchrun --nproc_per_node 8 train.py --preset 7b
    python3 train.py --preset tiny --data synthetic

Sharding is FSDP2 (`fully_shard`): bf16 parameters in the products, fp32 master weights and reductions.
"""

from __future__ import annotations

import csv
import gc
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
import torch.nn.functional as F
from bench import StepTimer, World, barrier, finish, gather, open_world, run_to_exit, slowest, synchronize
from data import Batch, DataError, Deal, FileText, Ledger, Loader, SyntheticText, Text, expected_ledger
from measure import Check
from model import PRESETS, Llama
from peaks import find_peak
from proof import count_changed, fingerprint, hash_numbers
from recipe import Recipe, read_recipe
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel
from verdict import (
    Cost,
    Training,
    Window,
    check_data,
    check_training,
    check_window,
    throughput_metrics,
    training_metrics,
)

# By measured speed on current GPUs; each is taken where the device and the shapes allow it.
GPU_ATTENTION = (
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)
ATTENTION = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "math": SDPBackend.MATH,
}


@dataclass(kw_only=True)
class Job:
    """Everything one rank trains with."""

    recipe: Recipe
    world: World
    model: nn.Module
    optimizer: torch.optim.Optimizer
    text: Text
    batches: Iterator[Batch]
    ledger: Ledger = field(default_factory=Ledger)
    data_wait_s: float = 0.0

    @property
    def global_batch(self) -> int:
        """Samples of one optimizer step over all ranks."""
        return self.recipe.samples_per_rank * self.world.size


@dataclass(kw_only=True)
class Steps:
    """What a stretch of steps left on this rank; losses are this rank's own."""

    losses: list[float]
    grad_norms: list[float]
    step_ms: list[float]
    wall_s: float
    data_wait_s: float

    def __add__(self, later: Steps) -> Steps:
        return Steps(
            losses=self.losses + later.losses,
            grad_norms=self.grad_norms + later.grad_norms,
            step_ms=self.step_ms + later.step_ms,
            wall_s=self.wall_s + later.wall_s,
            data_wait_s=self.data_wait_s + later.data_wait_s,
        )


def build_job(recipe: Recipe, world: World) -> Job:
    """A job ready for its first step."""
    if recipe.shard == "none" and world.size > 1:
        raise SystemExit(f"--shard none trains on one rank; there are {world.size}, allowed: fsdp, ddp")
    text = open_text(recipe, world)
    deal = Deal(samples=len(text), world=world.size, rank=world.rank, mbs=recipe.mbs, seed=recipe.seed)
    model = build_model(recipe, world)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    batches = iter(Loader(text, deal))
    return Job(recipe=recipe, world=world, model=model, optimizer=optimizer, text=text, batches=batches)


def open_text(recipe: Recipe, world: World) -> Text:
    """The samples, enough of them for one step without a repeat."""
    needed = recipe.samples_per_rank * world.size
    if recipe.data == "synthetic":
        samples = needed * recipe.total_steps
        return SyntheticText(samples, recipe.seq, PRESETS[recipe.preset].vocab, recipe.seed)
    if "MAD_DATAHOME" not in os.environ:
        raise SystemExit("MAD_DATAHOME is not set; it must name the folder of the text, or use --data synthetic")
    try:
        text = FileText(Path(os.environ["MAD_DATAHOME"]), recipe.seq)
    except DataError as error:
        raise SystemExit(str(error)) from None
    if len(text) < needed:
        raise SystemExit(
            f"the text has {len(text)} samples at --seq {recipe.seq}, one step needs {needed} "
            "different ones: use fewer ranks, a smaller --mbs or --grad-accum, or --data synthetic"
        )
    return text


def build_model(recipe: Recipe, world: World) -> nn.Module:
    """The sharded model with its first weights; no rank ever holds the whole of it under FSDP."""
    with torch.device("meta"):
        model = Llama(PRESETS[recipe.preset])
    if is_compiled(recipe, world.device):
        for block in model.blocks:
            block.compile(fullgraph=True)
    if recipe.shard == "fsdp":
        shard_model(model, recipe, world)
    model.to_empty(device=world.device)
    model.init_weights(recipe.seed)
    if recipe.shard == "ddp":
        return DistributedDataParallel(model, gradient_as_bucket_view=True)
    return model


def is_compiled(recipe: Recipe, device: torch.device) -> bool:
    return device.type == "cuda" if recipe.compile is None else recipe.compile


def shard_model(model: Llama, recipe: Recipe, world: World) -> None:
    """FSDP2: each block is one unit of gathering and scattering, the root holds the rest."""
    mesh = init_device_mesh(world.device.type, (world.size,), mesh_dim_names=("shard",))
    policy = MixedPrecisionPolicy()
    if recipe.precision == "bf16":
        # The embedding already makes bf16 activations; casting inputs would also cut the rotary table to bf16.
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    for block in model.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def products_in(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision where FSDP does not do it itself: autocast."""
    if recipe.shard == "fsdp" or recipe.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def attention_in(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """The choice of attention kernel; on a CPU `auto` leaves it to torch."""
    if recipe.attn != "auto":
        return sdpa_kernel(ATTENTION[recipe.attn])
    return sdpa_kernel(list(GPU_ATTENTION), set_priority=True) if device.type == "cuda" else nullcontext()


def mean_loss(job: Job, tokens: Tensor) -> Tensor:
    """Mean cross-entropy in nats of predicting each next token of [batch, seq + 1] ids."""
    with products_in(job.recipe, job.world.device):
        logits = job.model(tokens[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())


def next_tokens(job: Job) -> Tensor:
    """The rank's next micro-batch on its device, entered in the ledger; the wait for it is counted."""
    start = time.perf_counter()
    batch = next(job.batches)
    job.ledger.enter(batch)
    tokens = to_device(batch.tokens, job.world.device)
    job.data_wait_s += time.perf_counter() - start
    return tokens


def to_device(tokens: Any, device: torch.device) -> Tensor:
    """Token ids as int64 on the device; from pinned memory the copy does not wait for the device."""
    ids = torch.from_numpy(tokens).long()
    return ids.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else ids


def accumulating(job: Job, last: bool) -> AbstractContextManager[object]:
    """Gradients meet the other ranks' only in the last micro-batch of a step.

    FSDP then keeps whole fp32 gradients on each rank meanwhile, 4 bytes a parameter. On one rank there is
    no communication to save with that memory, so there every micro-batch reduces.
    """
    meet = last or job.world.size == 1
    if isinstance(job.model, FSDPModule):
        job.model.set_requires_gradient_sync(meet)
    elif isinstance(job.model, DistributedDataParallel) and not meet:
        return job.model.no_sync()
    return nullcontext()


def train_step(job: Job, step: int) -> tuple[Tensor, Tensor]:
    """One optimizer step; this rank's mean loss and the global gradient norm, both still on the device."""
    recipe = job.recipe
    loss_sum = torch.zeros((), device=job.world.device)
    for micro in range(recipe.grad_accum):
        tokens = next_tokens(job)
        with accumulating(job, last=micro == recipe.grad_accum - 1):
            loss = mean_loss(job, tokens) / recipe.grad_accum
            loss.backward()
        loss_sum += loss.detach()
    norm = nn.utils.clip_grad_norm_(job.model.parameters(), 1.0, foreach=True)
    for group in job.optimizer.param_groups:
        group["lr"] = recipe.lr * min(1.0, (step + 1) / recipe.warmup)
    job.optimizer.step()
    job.optimizer.zero_grad(set_to_none=True)
    return loss_sum, norm.full_tensor() if isinstance(norm, DTensor) else norm


def run_steps(job: Job, steps: range) -> Steps:
    """Train over `steps`; all ranks start together, and no step waits for the device to report."""
    losses, norms = [], []
    report_every = max(1, job.recipe.total_steps // 10)
    timer = StepTimer(job.world.device)
    waited = job.data_wait_s
    barrier(job.world)
    start = time.perf_counter()
    timer.mark()
    for step in steps:
        loss, norm = train_step(job, step)
        timer.mark()
        losses.append(loss)
        norms.append(norm)
        if job.world.rank == 0 and step % report_every == 0:
            print(f"step {step} of {job.recipe.total_steps}", flush=True)
    synchronize(job.world.device)
    wall_s = time.perf_counter() - start
    return Steps(
        losses=[float(loss) for loss in losses],
        grad_norms=[float(norm) for norm in norms],
        step_ms=timer.intervals_ms(),
        wall_s=wall_s,
        data_wait_s=job.data_wait_s - waited,
    )


@torch.no_grad()
def probe_loss(job: Job) -> float:
    """Loss on the first samples of the text, the same ones whenever and on whichever rank it is called."""
    batch = [job.text.tokens(sample) for sample in range(job.recipe.mbs)]
    return float(mean_loss(job, to_device(numpy.stack(batch), job.world.device)))


def train(job: Job) -> tuple[Training, Window]:
    """Warm up, measure, and gather what all ranks know."""
    recipe, world = job.recipe, job.world
    began = time.perf_counter()
    probe_before, before = probe_loss(job), fingerprint(job.model, whole=False)
    first = run_steps(job, range(1))
    start_s = slowest(world, time.perf_counter() - began)
    changed = count_changed(world, before, fingerprint(job.model, whole=False))
    warm = run_steps(job, range(1, recipe.warmup))
    window, measured = measure(job, start_s)
    steps = first + warm + measured
    training = Training(
        vocab=PRESETS[recipe.preset].vocab,
        losses=steps.losses,
        mean_losses=[sum(step) / world.size for step in zip(*gather(world, steps.losses), strict=True)],
        grad_norms=steps.grad_norms,
        probe_before=probe_before,
        probe_after=probe_loss(job),
        changed=changed,
        parameters=len(before),
        hashes=gather(world, hash_numbers(fingerprint(job.model, whole=True))),
    )
    if world.rank == 0:
        print(f"all up to the end of the first step: {start_s:.2f} s")
        write_steps(Path("steps.csv"), training.mean_losses, steps, recipe.warmup)
    return training, window


def measure(job: Job, start_s: float) -> tuple[Window, Steps]:
    """The measured steps, with Python's garbage collector out of the way."""
    recipe, world = job.recipe, job.world
    compiled = is_compiled(recipe, world.device)
    if compiled:
        torch._dynamo.config.error_on_recompile = True  # a window with a compilation in it measures that
    gc.collect()
    gc.freeze()
    gc.disable()
    retries = alloc_retries(world.device)
    steps = run_steps(job, range(recipe.warmup, recipe.total_steps))
    retries = alloc_retries(world.device) - retries
    gc.enable()
    window = Window(
        ranks=world.size,
        steps=recipe.steps,
        tokens=job.global_batch * recipe.seq * recipe.steps,
        wall_s=slowest(world, steps.wall_s),
        step_ms=[max(times) for times in zip(*gather(world, steps.step_ms), strict=True)],
        data_wait_s=slowest(world, steps.data_wait_s),
        alloc_retries=retries,
        start_s=start_s if compiled else None,
    )
    return window, steps


def alloc_retries(device: torch.device) -> int:
    """How often the device's allocator had to free its cache to go on, since the process began."""
    return torch.cuda.memory_stats(device)["num_alloc_retries"] if device.type == "cuda" else 0


def write_steps(path: Path, mean_losses: list[float], steps: Steps, warmup: int) -> None:
    """Loss (global batch), gradient norm and time of every step, for whoever wants to look closer."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("step", "phase", "loss", "grad_norm", "step_ms"))
        rows = zip(mean_losses, steps.grad_norms, steps.step_ms, strict=True)
        for step, row in enumerate(rows):
            writer.writerow((step, "window" if step >= warmup else "warmup", *row))


def price(recipe: Recipe, device: torch.device) -> Cost:
    """Model FLOPs of a token and the peak that applies: of bf16 products on a device that is listed."""
    config = PRESETS[recipe.preset]
    on_gpu = device.type == "cuda" and recipe.precision == "bf16"
    peak = find_peak(torch.cuda.get_device_name(device)) if on_gpu else None
    return Cost(
        flops_per_token=config.train_flops_per_token(recipe.seq, causal=False),
        flops_per_token_causal=config.train_flops_per_token(recipe.seq, causal=True),
        peak=peak,
    )


def judge_data(job: Job) -> list[Check]:
    """The ledger of the whole job against what was planned; rank 0 works it out, `finish` tells the others."""
    fed = sum(gather(job.world, job.ledger), Ledger())
    if job.world.rank != 0:
        return []
    samples = job.global_batch * job.recipe.total_steps
    expected = expected_ledger(job.text, job.recipe.seed, samples)
    return check_data(fed, expected, samples * job.recipe.seq)


def main() -> int:
    recipe = read_recipe()
    with open_world(recipe.timeout_s) as world, attention_in(recipe, world.device):
        began = time.perf_counter()
        job = build_job(recipe, world)
        if world.rank == 0:
            print(f"{recipe}\n{world.size} ranks on {world.device.type}, joined in {world.join_s:.2f} s")
            print(f"built in {time.perf_counter() - began:.2f} s", flush=True)
        training, window = train(job)
        checks = [*check_training(training), *judge_data(job), *check_window(window)]
        cost = price(recipe, world.device)
        if world.rank == 0:
            print(f"peak for MFU: {cost.peak or 'none is listed for this device and precision'}", flush=True)
        metrics = throughput_metrics(window, cost) | training_metrics(training)
        if world.device.type == "cuda":
            peak_memory = torch.cuda.max_memory_allocated(world.device) / 2**30
            metrics["peak_mem_gib"] = slowest(world, peak_memory)
        return finish(world, checks, metrics)


if __name__ == "__main__":
    run_to_exit(main)
