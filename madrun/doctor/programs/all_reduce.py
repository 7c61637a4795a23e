#!/usr/bin/env python3
"""A short all-reduce of all ranks, by NCCL or RCCL on GPUs and by Gloo without; rank 0 prints what was found.

    torchrun --nproc_per_node 2 all_reduce.py

Runs in the image, without the package around it. Bandwidths as nccl-tests have them (doc/PERFORMANCE.md of NVIDIA's
nccl-tests): algbw = bytes / time, busbw = algbw * 2 (n - 1) / n for n ranks; GB are 10^9 bytes.
"""

from __future__ import annotations

import datetime
import importlib
import json
import os
import socket
import sys
import time
from typing import Any

MARK = "madrun-doctor-all-reduce"
LIMIT_S = 120  # for the ranks to find each other, some of which read torch from a slow disk, and for one operation
SIZES = {"cuda": (64 << 10, 8 << 20, 256 << 20), "cpu": (1 << 10, 256 << 10, 8 << 20)}  # bytes of float32
WARM_UP, MOST, ABOUT_S = 2, 20, 0.5


def place() -> tuple[int, int, int]:
    """Rank, ranks of the job, and rank on this node: torch's variables, else one rank on each node."""
    env = os.environ
    if "RANK" in env:
        return int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", 0))
    return int(env.get("NODE_RANK", 0)), int(env.get("NNODES", 1)), 0


def main() -> None:
    """Raises where the ranks do not find each other; a wrong sum is printed, not raised."""
    torch: Any = importlib.import_module("torch")
    dist: Any = importlib.import_module("torch.distributed")
    rank, size, local = place()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local % torch.cuda.device_count()) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    began = time.monotonic()
    limit = datetime.timedelta(seconds=LIMIT_S)
    dist.init_process_group("nccl" if on_gpu else "gloo", rank=rank, world_size=size, timeout=limit)
    init_s = time.monotonic() - began
    measured = [measure(torch, dist, device, count) for count in SIZES[device.type]]
    ranks: list[Any] = [None] * size
    dist.all_gather_object(
        ranks, [rank, os.environ.get("NODE_RANK", "?"), socket.gethostname(), name_of(torch, device)]
    )
    if rank == 0:
        found = {"backend": dist.get_backend(), "torch": torch.__version__, "ranks": size, "init_s": round(init_s, 3)}
        lines = [found, *measured, *({"rank": entry} for entry in ranks)]
        sys.stdout.write("".join(f"{MARK} {json.dumps(line)}\n" for line in lines))
        sys.stdout.flush()
    dist.barrier()
    dist.destroy_process_group()


def measure(torch: Any, dist: Any, device: Any, size: int) -> dict[str, Any]:
    """One size: whether the sum is right in every place on every rank, and the seconds that the slowest rank took."""
    n, rank = dist.get_world_size(), dist.get_rank()
    values = torch.full((size // 4,), float(rank + 1), device=device)
    dist.all_reduce(values)
    wrong = torch.tensor([int((values != n * (n + 1) / 2).sum())], device=device)
    dist.all_reduce(wrong)
    values.zero_()
    seconds = timed(torch, dist, values, WARM_UP)
    times = max(1, min(MOST, int(ABOUT_S / max(seconds, 1e-6))))
    return {
        "bytes": values.numel() * 4,
        "wrong": int(wrong),
        "times": times,
        "seconds": timed(torch, dist, values, times),
    }


def timed(torch: Any, dist: Any, values: Any, times: int) -> float:
    """Seconds for one of so many operations, on the slowest rank: the same number on every rank."""
    dist.barrier()
    wait(torch, values)
    began = time.monotonic()
    for _ in range(times):
        dist.all_reduce(values)
    wait(torch, values)
    seconds = torch.tensor([(time.monotonic() - began) / times], dtype=torch.float64, device=values.device)
    dist.all_reduce(seconds, dist.ReduceOp.MAX)
    return float(seconds)


def wait(torch: Any, values: Any) -> None:
    """Until the device has done what it was given."""
    if values.is_cuda:
        torch.cuda.synchronize(values.device)


def name_of(torch: Any, device: Any) -> str:
    """The device's name, and for a GPU its number on the node."""
    return f"{torch.cuda.get_device_name(device)} {device.index}" if device.type == "cuda" else "cpu"


if __name__ == "__main__":
    main()
