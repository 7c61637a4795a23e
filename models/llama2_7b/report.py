"""What a run leaves besides its performance lines: steps.csv, one row a step, and llama2_7b.json, everything else."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from job import Job
from measure import Check
from model import PRESETS
from record import describe_environment, judge, write_json
from verdict import Cost, Training, Window

# Metrics that a run may not know: they stand in the record as null, and print no line.
MAY_BE_UNKNOWN = (
    "mfu_pct",
    "mfu_causal_pct",
    "hfu_pct",
    "mamf_pct",
    "compile_s",
    "peak_mem_gib",
    "rank_spread_pct",
    "exposed_comm_pct",
    "energy_j_per_token",
    "avg_power_w",
    "checkpoint_s",
)


def write_steps(folder: Path, training: Training, step_ms: Sequence[float], measured_from: int) -> None:
    """Loss (global batch), gradient norm and time of every step; steps before a resume have no time here."""
    earlier = len(training.mean_losses) - len(step_ms)
    times = [*[None] * earlier, *step_ms]
    with (folder / "steps.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("step", "phase", "loss", "grad_norm", "step_ms"))
        for step, row in enumerate(zip(training.mean_losses, training.grad_norms, times, strict=True)):
            phase = "earlier" if step < earlier else "warmup" if step < measured_from else "window"
            writer.writerow((step, phase, *row))


def write_record(job: Job, cost: Cost, window: Window, metrics: Mapping[str, float], checks: Sequence[Check]) -> None:
    """llama2_7b.json: status and reasons, metrics (null: not known), FLOP conventions, peak, memory, environment."""
    recipe, world, capacity = job.recipe, job.world, job.capacity
    config, peak = PRESETS[recipe.preset], cost.peak
    step_sum_s = sum(window.step_ms) / 1e3
    content = {
        "workload": "llama2_7b",
        "preset": recipe.preset,
        **judge(checks),
        "metrics": {name: None for name in MAY_BE_UNKNOWN} | dict(metrics),
        "flops": {
            "n_mm": config.matmul_params,
            "parameters": config.params,
            "full_attention": {"c": 12, "per_token": cost.flops_per_token, "recomputed": cost.recompute},
            "causal_attention": {"c": 6, "per_token": cost.flops_per_token_causal, "recomputed": cost.recompute_causal},
            "formula": "6 N_mm + c L (heads head_dim) seq",
        },
        "peak": peak and {"bf16_dense_tflops": peak.tflops, "source": peak.source},
        "mamf_tflops": cost.mamf_tflops,
        "memory": {
            "predicted_bytes": job.prediction.total,
            "moment": job.prediction.moment,
            "parts": {part.name: part.size for part in job.prediction.parts},
            "free_bytes": capacity and capacity.free,
            "limit": capacity and capacity.limit,
        },
        "window": {
            "steps": window.steps,
            "tokens": window.tokens,
            "wall_s": window.wall_s,
            # Steps are timed on the device, the window by the host: apart by more, the host was in the way.
            "host_bound": step_sum_s < 0.98 * window.wall_s,
            "first_step": job.step - window.steps,
            "resumed_at": job.past.step or None,
            "pace_ms": window.pace_ms,
            "energy_j": window.energy_j,
        },
        "recipe": asdict(recipe),
        "ranks": world.size,
        "ranks_per_node": world.launch.local_size,
        "environment": describe_environment(world.device),
    }
    write_json(Path(recipe.out) / "llama2_7b.json", content)
