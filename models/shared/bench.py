"""The torch half of the measuring kit: set-up and tear-down of the world, clocks, and the verdict.

    def main() -> int:
        with open_world(timeout_s=60) as world:
            timer = StepTimer(world.device)
            ...
            return finish(world, checks, {"step_ms_p50": 12.3})

    run_to_exit(main)

One code path for three devices: CUDA with NCCL, ROCm with RCCL (which torch also calls cuda and nccl), and
CPU with gloo.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, TypeVar

import torch
import torch.distributed as dist
from launch import Launch, LaunchError, read_launch
from measure import Check, failure_report, merge_checks, metrics_are_finite, performance_line

T = TypeVar("T")

REFUSED = 2  # exit code: the run was not started, for the reason that was printed
INVALID = 3  # exit code: it ran, and its checks failed


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes of one job, seen from one of them."""

    launch: Launch
    device: torch.device
    store: dist.Store
    """Key-value store all ranks share; it needs no collective, so it works where collectives do not."""
    join_s: float
    """Seconds from the first contact to the end of the first collective: rendezvous, set-up, waiting."""
    free_memory: float | None
    """Share of the device's memory that was free before this job allocated any; None on a CPU."""

    @property
    def rank(self) -> int:
        return self.launch.rank

    @property
    def size(self) -> int:
        return self.launch.size


@contextmanager
def open_world(timeout_s: float) -> Iterator[World]:
    """The joined world; no wait in it, at the start or in a collective, is longer than `timeout_s`.

    Left by an exception nothing is torn down: peers may be stuck in a collective, and tearing NCCL down would
    wait for them. `run_to_exit` ends the process, which is what frees them.
    """
    try:
        world = _join(read_launch(os.environ), timedelta(seconds=timeout_s))
    except LaunchError as error:
        raise SystemExit(f"cannot join the world: {error}") from None
    yield world
    _leave(world, timeout_s)


def _join(launch: Launch, timeout: timedelta) -> World:
    device = _pick_device(launch)
    free_memory = _free_memory(device)
    start = time.perf_counter()
    store = _connect(launch, timeout)
    _claim_rank(store, launch, timeout)
    dist.init_process_group(
        backend="nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore("group", store),
        rank=launch.rank,
        world_size=launch.size,
        timeout=timeout,
        device_id=device if device.type == "cuda" else None,
    )
    # NCCL connects lazily: only after a collective is the world really there.
    dist.all_reduce(torch.zeros(1, device=device))
    synchronize(device)
    join_s = time.perf_counter() - start
    return World(launch=launch, device=device, store=store, join_s=join_s, free_memory=free_memory)


def _pick_device(launch: Launch) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    visible = torch.cuda.device_count()
    # Some schedulers show each process its own device only; it then has the number 0 in every process.
    index = 0 if visible == 1 else launch.local_rank
    if index >= visible:
        raise LaunchError(f"LOCAL_RANK is {launch.local_rank}, but this process sees only {visible} devices")
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _free_memory(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return free / total


def _connect(launch: Launch, timeout: timedelta) -> dist.Store:
    if launch.size == 1:
        return dist.HashStore()  # no address, no port, so nothing that can be wrong or taken
    try:
        store, _, _ = next(dist.rendezvous("env://", launch.rank, launch.size, timeout=timeout))
    except dist.DistError as error:
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise LaunchError(f"rank {launch.rank} found no complete world at {address}: {error}") from None
    return store


def _claim_rank(store: dist.Store, launch: Launch, timeout: timedelta) -> None:
    """Take this rank for this process alone.

    torch itself does not notice two processes with one rank: it waits, or mixes them up. Refusals are written
    before the process counts as present, so once all are present every process reads the same answer.
    """
    if store.add(f"claims/{launch.rank}", 1) > 1:
        me = f"{socket.gethostname()} pid {os.getpid()}"
        store.set("refused", f"rank {launch.rank} was claimed more than once, the last time by {me}")
    if store.add("present", 1) == launch.size:
        store.set("complete", "yes")
    try:
        store.wait(["complete"], timeout)
    except dist.DistError:
        seen = store.add("present", 0)
        raise LaunchError(f"{seen} of {launch.size} processes came within {timeout}") from None
    if store.check(["refused"]):
        raise LaunchError(store.get("refused").decode())


def _leave(world: World, timeout_s: float) -> None:
    """Part from the others; rank 0, which may host the store, goes last."""
    if world.device.type == "cuda":
        dist.destroy_process_group()
    if world.store.add("left", 1) == world.size:
        world.store.set("empty", "yes")
    if world.rank == 0:
        world.store.wait(["empty"], timedelta(seconds=timeout_s))


def run_to_exit(main: Callable[[], int]) -> NoReturn:
    """Run `main` and end the process with its exit code, without tearing the interpreter down.

    Gloo's threads let go of the tensors of their last collective a little later, and need the interpreter's
    lock for it. In an interpreter that is being torn down they abort the process ("terminate called without
    an active exception") or deadlock with it, after a good run as after an error. Both were seen in one run
    of two with torch 2.13.
    """
    try:
        code = main()
    except SystemExit as error:
        if isinstance(error.code, str) and error.code:
            print(error.code, file=sys.stderr)
        code = error.code if isinstance(error.code, int) else REFUSED if error.code is not None else 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def synchronize(device: torch.device) -> None:
    """Return when the device has done all work given to it so far; at once on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def barrier(world: World) -> None:
    """Return when every rank is here and its device is idle."""
    synchronize(world.device)
    dist.all_reduce(torch.zeros(1, device=world.device))
    synchronize(world.device)


def gather(world: World, value: T) -> list[T]:
    """Every rank's value, in rank order, on every rank. For small picklable things, outside the window."""
    values: list[T] = [value] * world.size
    dist.all_gather_object(values, value)
    return values


def slowest(world: World, value: float) -> float:
    """The largest of the ranks' values: a job is as slow as its slowest rank."""
    return max(gather(world, value))


class StepTimer:
    """Durations between marks: by device events on a GPU, so that no mark waits for it, else by the clock."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[torch.cuda.Event] = []
        self._clock: list[float] = []

    def mark(self) -> None:
        """Note this point of the device's work queue (GPU) or of time (CPU)."""
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append(event)
        else:
            self._clock.append(time.perf_counter())

    def intervals_ms(self) -> list[float]:
        """Milliseconds between each mark and the next; waits for the device."""
        synchronize(self._device)
        if self._device.type == "cuda":
            return [a.elapsed_time(b) for a, b in zip(self._events, self._events[1:], strict=False)]
        return [1e3 * (b - a) for a, b in zip(self._clock, self._clock[1:], strict=False)]


def agree(world: World, checks: Sequence[Check]) -> list[Check]:
    """The checks of all ranks merged into one list that is the same on every rank."""
    return merge_checks(gather(world, list(checks)))


def finish(world: World, checks: Sequence[Check], metrics: Mapping[str, float]) -> int:
    """Print the performance lines, or the failed checks; the exit code, the same on every rank.

    Only rank 0 prints. Every rank must call this, also one that already knows that it failed.
    """
    failures = failure_report(agree(world, [*checks, metrics_are_finite(metrics)]))
    if world.rank == 0:
        if failures:
            print(failures, file=sys.stderr, flush=True)
        else:
            print("\n".join(performance_line(value, name) for name, value in metrics.items()), flush=True)
    return INVALID if failures else 0
