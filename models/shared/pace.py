"""How fast each device is on its own: one product of matrices, timed apart from the job.

In a job with collectives all ranks take the same time per step, the slowest one's, so step times do not show which
rank is slow. This does.
"""

from __future__ import annotations

import statistics

import torch
from bench import StepTimer

REPEATS = 10


def local_pace_ms(device: torch.device) -> float:
    """Median milliseconds of a bf16 product of 8192 x 8192 matrices on a GPU, of a small fp32 one on a CPU."""
    side, dtype = (8192, torch.bfloat16) if device.type == "cuda" else (256, torch.float32)
    generator = torch.Generator(device).manual_seed(0)
    # Random, not zeros: zeros switch fewer transistors, so a GPU clocks higher on them.
    a, b = (torch.randn(side, side, generator=generator, device=device, dtype=dtype) for _ in range(2))
    timer = StepTimer(device)
    for repeat in range(2 * REPEATS):
        if repeat >= REPEATS:
            timer.mark()
        a @ b
    timer.mark()
    return statistics.median(timer.intervals_ms())
