"""From what a run left behind to its checks and metrics. Plain numbers in, no torch.

The checks decide whether any metric is printed: a fast run that did not train is no result.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from data import Ledger
from measure import Check, summarize
from peaks import Peak
from recipe import MIN_WINDOW_STEPS

FIRST_LOSS_TOLERANCE = 0.3  # around ln(vocab), the loss of a model that knows nothing


@dataclass(frozen=True, kw_only=True)
class Training:
    """What one rank knows of the training, over all steps, warm-up included."""

    vocab: int
    losses: list[float]
    """This rank's own loss of each step."""
    mean_losses: list[float]
    """Mean over all ranks: the loss of the global batch."""
    grad_norms: list[float]
    probe_before: float
    """Loss on one fixed batch before the first step."""
    probe_after: float
    """Loss on the same batch after the last step."""
    changed: int
    """Parameter tensors that differ after the first step, of `parameters`."""
    parameters: int
    hashes: list[str]
    """The hash of each whole copy of the parameters that the ranks hold together, after the last step."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The measured steps: throughput is `tokens` over `wall_s` of the slowest rank."""

    ranks: int
    steps: int
    tokens: int
    wall_s: float
    step_ms: list[float]
    """Of each step, on the rank that was slowest in it."""
    data_wait_s: float
    """Time blocked on the loader, on the rank that waited longest."""
    alloc_retries: int
    """How often the device allocator had to give memory back and ask again; 0 on a CPU."""
    start_s: float | None
    """Seconds of all forward and backward passes up to this process's first step; None where nothing is compiled."""
    pace_ms: list[float]
    """Of each rank, the time of the same small work done alone."""
    energy_j: float | None
    """Joules of all GPUs in the window; None where a counter is missing or the window is too short for it."""
    save_s: list[float]
    """Seconds of each checkpoint; they lie outside the window."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a token costs and what the device could do at best, where that is known."""

    flops_per_token: float
    flops_per_token_causal: float
    peak: Peak | None
    recompute: float | None = 0.0
    """FLOPs a token that backward spends on doing forward again, whole attention matrix; None: unknown."""
    recompute_causal: float | None = 0.0
    mamf_tflops: float | None = None
    """Best rate of products measured on this device, where that is known."""


def check_training(training: Training) -> list[Check]:
    """The model was really trained: sane at the start, every parameter moved, the loss fell."""
    losses, norms = training.losses, training.grad_norms
    first, ideal = training.mean_losses[0], math.log(training.vocab)
    before, after = training.probe_before, training.probe_after
    changed, total = training.changed, training.parameters
    hashes = sorted(set(training.hashes))
    near = f"{ideal:.4f} = ln({training.vocab}), within {FIRST_LOSS_TOLERANCE}"
    return [
        Check("loss is finite", all(map(math.isfinite, losses)), _span(losses), "finite on every step"),
        Check("first loss", abs(first - ideal) <= FIRST_LOSS_TOLERANCE, f"{first:.4f}", near),
        Check("loss on a fixed batch falls", after < before, f"{before:.6f} then {after:.6f}", "a lower one"),
        Check(
            "gradient norm",
            all(math.isfinite(norm) and norm > 0 for norm in norms),
            _span(norms),
            "finite and > 0 on every step",
        ),
        Check(
            "parameters change in the first step",
            changed == total,
            f"{changed} of {total} tensors changed",
            "all of them",
        ),
        Check("parameters are equal on all ranks", len(hashes) == 1, f"hashes {hashes[:4]}", "one hash"),
    ]


def check_data(fed: Ledger, expected: Ledger, planned_tokens: int) -> list[Check]:
    """The job read what it should: as many tokens as planned, and no sample twice or not at all."""
    return [
        Check("tokens counted", fed.tokens == planned_tokens, str(fed.tokens), f"{planned_tokens}"),
        Check(
            "every rank saw different data",
            fed == expected,
            f"{fed.samples} samples, fingerprint {fed.fingerprint:016x}",
            f"{expected.samples} samples, fingerprint {expected.fingerprint:016x} of all, each read once",
        ),
    ]


def check_window(window: Window) -> list[Check]:
    """The measurement itself can be believed: long enough, and not disturbed by memory pressure."""
    enough, retries = f"at least {MIN_WINDOW_STEPS}", window.alloc_retries
    return [
        Check("enough measured steps", window.steps >= MIN_WINDOW_STEPS, str(window.steps), enough),
        Check("no allocator retry in the window", retries == 0, f"{retries} retries", "0 retries"),
    ]


def check_limits(metrics: dict[str, float]) -> list[Check]:
    """Nothing is faster than what limits it: a share of a peak above 100 % is an error of measurement."""
    return [
        Check(f"{name} is at most 100", metrics[name] <= 100, f"{metrics[name]:.4g}", "at most 100")
        for name in ("mfu_pct", "mfu_causal_pct", "hfu_pct", "mamf_pct")
        if name in metrics
    ]


def _span(values: list[float]) -> str:
    bad = [value for value in values if not math.isfinite(value)]
    if bad:
        return f"{bad[0]} on {len(bad)} of {len(values)} steps"
    return f"{min(values):.6g} to {max(values):.6g}"


def throughput_metrics(window: Window, cost: Cost) -> dict[str, float]:
    """Tokens/s, step times in ms, TFLOP/s, times in s, energy, and shares of peaks, each where it is known.

    `mfu_pct` and `tflops_per_gpu` count the whole attention matrix, `mfu_causal_pct` the causal half.
    """
    per_gpu = window.tokens / window.wall_s / window.ranks
    steps = summarize(window.step_ms)
    metrics = {
        "tokens_per_sec_per_gpu": per_gpu,
        "tokens_per_sec": per_gpu * window.ranks,
        "step_ms_p50": steps.p50,
        "step_ms_p95": steps.p95,
        "step_ms_iqr": steps.iqr,
        "tflops_per_gpu": per_gpu * cost.flops_per_token / 1e12,
        "data_wait_pct": 100 * window.data_wait_s / window.wall_s,
    }
    if window.start_s is not None:
        metrics["compile_s"] = max(0.0, window.start_s - steps.p50 / 1e3)
    if window.ranks > 1:
        spread = max(window.pace_ms) - min(window.pace_ms)
        metrics["rank_spread_pct"] = 100 * spread / statistics.median(window.pace_ms)
    if window.save_s:
        metrics["checkpoint_s"] = statistics.median(window.save_s)
    if window.energy_j is not None:
        metrics["energy_j_per_token"] = window.energy_j / window.tokens
        metrics["avg_power_w"] = window.energy_j / window.wall_s / window.ranks
    return metrics | utilization(per_gpu, cost)


def utilization(per_gpu: float, cost: Cost) -> dict[str, float]:
    """Shares in percent of the listed peak and of the measured one, for tokens/s of one GPU; what is known of them.

    MFU counts the FLOPs of the model, HFU also those that are done twice (both: whole attention matrix);
    `mamf_pct` counts the causal half and what is done twice, since nothing else must be computed.
    """
    tflops, causal = per_gpu * cost.flops_per_token / 1e12, per_gpu * cost.flops_per_token_causal / 1e12
    metrics = {}
    if cost.peak is not None:
        metrics["mfu_pct"] = 100 * tflops / cost.peak.tflops
        metrics["mfu_causal_pct"] = 100 * causal / cost.peak.tflops
        if cost.recompute is not None:
            metrics["hfu_pct"] = 100 * (tflops + per_gpu * cost.recompute / 1e12) / cost.peak.tflops
    if cost.mamf_tflops is not None and cost.recompute_causal is not None:
        metrics["mamf_pct"] = 100 * (causal + per_gpu * cost.recompute_causal / 1e12) / cost.mamf_tflops
    return metrics


def training_metrics(training: Training) -> dict[str, float]:
    """Loss of the first and the last step (nats per token, global batch) and the last gradient norm."""
    return {
        "loss_first": training.mean_losses[0],
        "loss_last": training.mean_losses[-1],
        "grad_norm": training.grad_norms[-1],
    }
