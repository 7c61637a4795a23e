"""Pre-trains a Llama 2 for some steps and says how fast, if the training was sound.

    torchrun --nproc_per_node 8 train.py --preset 7b
    python3 train.py --preset tiny --data synthetic

Sharding is FSDP2 (`fully_shard`): bf16 parameters in the products, fp32 master weights and reductions.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import energy
import numpy
import torch
import torch.nn.functional as F
from bench import StepTimer, World, agree, barrier, finish, gather, open_world, run_to_exit, slowest, synchronize
from build import attention_in, products_in, shard_size
from data import Ledger, expected_ledger
from job import Job, Steps, build_job, mean_losses, progress
from measure import Check
from model import PRESETS
from pace import local_pace_ms
from peaks import find_peak
from proof import count_changed, fingerprint, hash_numbers, reshard, whole_fingerprints
from recipe import Recipe, RecipeError, read_recipe, steps_within
from report import write_record, write_steps
from saved import CheckpointError
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from verdict import (
    Cost,
    Training,
    Window,
    check_data,
    check_limits,
    check_training,
    check_window,
    throughput_metrics,
    training_metrics,
)


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
        job.model.set_reshard_after_backward(last or job.recipe.reshard == "always")
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


def run_steps(job: Job, count: int) -> Steps:
    """The next `count` steps, timed, with a checkpoint after each one that is due for it, outside of the time."""
    total, keeper, every = Steps(), job.keeper, job.recipe.save_every
    while count > 0:
        part = count if keeper is None or every is None else min(count, every - job.step % every)
        steps = time_steps(job, range(job.step, job.step + part))
        total, job.done, count = total + steps, job.done + steps, count - part
        save_if_due(job)
    return total


def save_if_due(job: Job) -> None:
    """Save after a step whose number --save-every divides."""
    if job.recipe.save_every and job.step % job.recipe.save_every == 0:
        save(job)


def save(job: Job) -> None:
    """Save, if the job keeps checkpoints; a run that cannot do so ends here, its earlier checkpoints untouched."""
    try:
        if job.keeper:
            job.keeper.save(progress(job))
    except CheckpointError as error:
        if job.world.rank == 0:
            print(f"FAILED: {error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None


def time_steps(job: Job, steps: range) -> Steps:
    """Train over `steps`; all ranks start together, and no step waits for the device to report."""
    losses, norms = [], []
    report_every = max(1, job.recipe.total_steps // 10)
    timer = StepTimer(job.world.device)
    waited = job.data_wait_s
    barrier(job.world)
    joules = job.meter() if job.meter else None
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
        energy_j=[energy.spent(joules, job.meter() if job.meter else None, wall_s)],
    )


@torch.no_grad()
def probe_loss(job: Job) -> float:
    """Loss on the first samples of the text, the same ones whenever and on whichever rank it is called."""
    batch = [job.text.tokens(sample) for sample in range(job.recipe.mbs)]
    loss = float(mean_loss(job, to_device(numpy.stack(batch), job.world.device)))
    reshard(job.model)
    return loss


def train(job: Job) -> tuple[Training, Window]:
    """Warm up, measure, and gather what all ranks know."""
    recipe, world = job.recipe, job.world
    began = time.perf_counter()
    job.probe_before = probe_loss(job) if job.past.probe_before is None else job.past.probe_before
    before = fingerprint(job.model.parameters())
    first = first_step(job, before)
    start_s = slowest(world, time.perf_counter() - began)
    # A resumed process has its own cold caches and clocks, so it has a warm-up of its own.
    warm = run_steps(job, min(recipe.warmup, recipe.total_steps - job.past.step) - 1)
    window = measure(job, window_steps(job, warm if warm.losses else first), start_s)
    copies = whole_fingerprints(world, shard_size(recipe, world), job.model.parameters())
    training = Training(
        vocab=PRESETS[recipe.preset].vocab,
        losses=job.done.losses,
        mean_losses=mean_losses(job),
        grad_norms=job.past.grad_norms + job.done.grad_norms,
        probe_before=job.probe_before,
        probe_after=probe_loss(job),
        changed=job.changed,
        parameters=len(before),
        hashes=[hash_numbers(copy) for copy in copies],
    )
    if world.rank == 0:
        print(f"all up to the end of the first step: {start_s:.2f} s\nparameters: {training.hashes[0]}")
        write_steps(Path(recipe.out), training, job.done.step_ms, measured_from=job.step - window.steps)
    return training, window


def first_step(job: Job, before: list[int]) -> Steps:
    """The first step of this process: which parameters did it change? On resuming, no fewer than at the start."""
    steps = time_steps(job, range(job.step, job.step + 1))
    job.done += steps
    changed = count_changed(job.world, before, fingerprint(job.model.parameters()))
    job.changed = changed if job.past.changed is None else min(changed, job.past.changed)
    save_if_due(job)
    return steps


def window_steps(job: Job, warm: Steps) -> int:
    """How many steps to measure: all that are left, or as many as the time budget allows, the same on every rank."""
    recipe, left = job.recipe, job.recipe.total_steps - job.step
    if recipe.budget_s is None:
        return left
    step_s = slowest(job.world, warm.wall_s / len(warm.losses))
    spent_s = slowest(job.world, time.monotonic() - job.began)
    steps = max(0, steps_within(recipe.budget_s, spent_s, step_s, left))
    if job.world.rank == 0 and steps < left:
        budget = f"--budget-s {recipe.budget_s:g}: {spent_s:.1f} s are spent and a step takes {step_s:.3f} s"
        print(f"{budget}, so {steps} of {left} steps are measured", flush=True)
    return steps


def measure(job: Job, count: int, start_s: float) -> Window:
    """The measured steps, with Python's garbage collector out of the way."""
    recipe, world = job.recipe, job.world
    if recipe.compile:
        torch._dynamo.config.error_on_recompile = True  # a window with a compilation in it measures that
    gc.collect()
    gc.freeze()
    gc.disable()
    retries = alloc_retries(world.device)
    steps = run_steps(job, count)
    torch._dynamo.config.error_on_recompile = False
    retries = alloc_retries(world.device) - retries
    gc.enable()
    if recipe.save_every and job.step % recipe.save_every:
        save(job)
    return Window(
        ranks=world.size,
        steps=count,
        tokens=job.global_batch * recipe.seq * count,
        wall_s=slowest(world, steps.wall_s),
        step_ms=[max(times) for times in zip(*gather(world, steps.step_ms), strict=True)],
        data_wait_s=slowest(world, steps.data_wait_s),
        alloc_retries=max(gather(world, retries)),
        start_s=start_s if recipe.compile else None,
        pace_ms=gather(world, local_pace_ms(world.device)) if world.size > 1 else [],
        energy_j=energy.total([part for rank in gather(world, steps.energy_j) for part in rank]),
        save_s=job.keeper.save_s if job.keeper else [],
    )


def alloc_retries(device: torch.device) -> int:
    """How often the device's allocator had to free its cache to go on, since the process began."""
    return torch.cuda.memory_stats(device)["num_alloc_retries"] if device.type == "cuda" else 0


def price(recipe: Recipe, device: torch.device) -> Cost:
    """Model FLOPs of a token and the peak that applies: of bf16 products on a device that is listed."""
    config, peak = PRESETS[recipe.preset], None
    if device.type == "cuda" and recipe.precision == "bf16":
        properties = torch.cuda.get_device_properties(device)
        peak = find_peak(properties.name, properties.multi_processor_count)
    return Cost(
        flops_per_token=config.train_flops_per_token(recipe.seq, causal=False),
        flops_per_token_causal=config.train_flops_per_token(recipe.seq, causal=True),
        peak=peak,
        recompute=config.recompute_flops_per_token(recipe.seq, recipe.ac, causal=False),
        recompute_causal=config.recompute_flops_per_token(recipe.seq, recipe.ac, causal=True),
        mamf_tflops=recipe.mamf_tflops,
    )


def judge_data(job: Job) -> list[Check]:
    """The ledger of the whole job against what was planned; rank 0 works it out, `finish` tells the others."""
    fed = sum(gather(job.world, job.ledger), Ledger())
    if job.world.rank != 0:
        return []
    samples = job.global_batch * job.step
    expected = expected_ledger(job.text, job.recipe.seed, samples)
    return check_data(fed, expected, samples * job.recipe.seq)


def run(recipe: Recipe, world: World, began: float) -> int:
    """Train, judge, report; the exit code."""
    start = time.perf_counter()
    job = build_job(recipe, world, began)
    if world.rank == 0:
        print(f"{job.recipe}\n{world.size} ranks on {world.device.type}, joined in {world.join_s:.2f} s")
        print(f"memory of a rank, predicted:\n{job.prediction.table()}")
        print(f"built in {time.perf_counter() - start:.2f} s", flush=True)
    training, window = train(job)
    cost = price(recipe, world.device)
    metrics = throughput_metrics(window, cost) if window.steps else {}
    metrics |= training_metrics(training)
    if world.device.type == "cuda":
        metrics["peak_mem_gib"] = slowest(world, torch.cuda.max_memory_allocated(world.device) / 2**30)
    checks = [*check_training(training), *judge_data(job), *check_window(window), *check_limits(metrics)]
    agreed = agree(world, checks)
    if world.rank == 0:
        print(f"peak for MFU: {cost.peak or 'none is known for this device and precision'}", flush=True)
        write_record(job, cost, window, metrics, agreed)
    return finish(world, checks, metrics)


def main() -> int:
    began = time.monotonic()
    recipe = read_recipe()
    Path(recipe.out).mkdir(parents=True, exist_ok=True)
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as torch.use_deterministic_algorithms asks
        torch.use_deterministic_algorithms(True)
    with open_world(recipe.timeout_s) as world:
        try:
            settled = recipe.on(device=world.device.type, world=world.size)
            with attention_in(settled, world.device):
                return run(settled, world, began)
        except (RecipeError, CheckpointError) as error:
            raise SystemExit(f"REFUSED: {error}" if world.rank == 0 else "") from None


if __name__ == "__main__":
    run_to_exit(main)
