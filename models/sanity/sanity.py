"""Proves in seconds that all processes of a job form one sound world: right ranks and sums, equal software.

torchrun --nproc_per_node 2 sanity.py
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import socket
import time
from pathlib import Path

import numpy
import torch
import torch.distributed as dist
from bench import World, barrier, finish, gather, open_world, run_to_exit, slowest
from measure import Check, Summary, summarize

MIN_FREE_MEMORY = 0.95  # of the device, before this job allocates: less means somebody else is on it
DTYPES = (torch.float32, torch.bfloat16, torch.int64)


def describe_self(world: World) -> dict[str, object]:
    """Who and where this rank is; the other ranks compare it with what they are."""
    launch = world.launch
    return {
        "rank": dist.get_rank(),
        "launched_as": launch.rank,
        "node": launch.node,
        "local_rank": launch.local_rank,
        "local_size": launch.local_size,
        "host": socket.gethostname(),
        "device": device_id(world.device),
        "free_memory": world.free_memory,
    }


def describe_software(device: torch.device) -> dict[str, str]:
    """Everything that must be the same on all ranks; each difference counts as one version mismatch."""
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "cuda": str(torch.version.cuda),
        "hip": str(torch.version.hip),
        "scripts": hash_scripts(Path(__file__).parent),
        "device": "cpu",
    }
    if device.type == "cuda":
        versions["device"] = torch.cuda.get_device_name(device)
        versions["nccl"] = ".".join(str(part) for part in torch.cuda.nccl.version())
        versions["driver"] = read_driver_version()
    return versions


def device_id(device: torch.device) -> str | None:
    """The GPU's UUID (on builds without one its PCI address with the host's name); None on a CPU."""
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    uuid = getattr(properties, "uuid", None)
    if uuid is not None:
        return str(uuid)
    return f"{socket.gethostname()} pci {properties.pci_domain_id}:{properties.pci_bus_id}"


def read_driver_version() -> str:
    """The kernel driver's version as its module states it; "unknown" where the container does not show it."""
    for path in ("/sys/module/nvidia/version", "/sys/module/amdgpu/version"):
        if Path(path).is_file():
            return Path(path).read_text().strip()
    return "unknown"


def hash_scripts(folder: Path) -> str:
    """One sha256 over the names and contents of the Python files in `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def check_reductions(world: World) -> list[Check]:
    """SUM, MAX and MIN of the ranks themselves, against their closed forms."""
    n = world.size
    closed_forms = (
        ("SUM", dist.ReduceOp.SUM, n * (n - 1) // 2),
        ("MAX", dist.ReduceOp.MAX, n - 1),
        ("MIN", dist.ReduceOp.MIN, 0),
    )
    checks = []
    for name, op, expected in closed_forms:
        value = torch.tensor(dist.get_rank(), dtype=torch.int64, device=world.device)
        dist.all_reduce(value, op)
        found = int(value)
        checks.append(Check(f"{name} of the ranks", found == expected, str(found), str(expected)))
    return checks


def check_exact_sums(world: World) -> list[Check]:
    """Every rank's own value, scaled by 2^k, must arrive unchanged in each dtype.

    Rank r adds (r % 128 + 1) * 2^k at place r and zeros elsewhere. So each sum has one term that is not zero
    and is exact in every dtype (bf16 has 8 significant bits) whatever the order, and shows who is wrong.
    """
    own = torch.arange(world.size, device=world.device) % 128 + 1
    expected = own[:, None] * 2 ** torch.arange(0, 24, device=world.device)
    checks = []
    for dtype in DTYPES:
        values = torch.zeros(expected.shape, dtype=dtype, device=world.device)
        values[dist.get_rank()] = expected[dist.get_rank()].to(dtype)
        dist.all_reduce(values)
        wrong = (values.double() != expected.double()).any(dim=1).nonzero().flatten().tolist()
        name = f"exact sums in {str(dtype).removeprefix('torch.')}"
        checks.append(Check(name, not wrong, f"wrong terms of ranks {wrong[:8]}", "no wrong term"))
    return checks


def check_places(ranks: list[dict[str, object]]) -> list[Check]:
    """Ranks are contiguous, each node is full, and no device serves two ranks."""
    numbers = [entry["rank"] for entry in ranks]
    launched = [entry["launched_as"] for entry in ranks]
    places = [(entry["node"], entry["local_rank"]) for entry in ranks]
    nodes = {entry["node"]: entry["local_size"] for entry in ranks}
    wanted = sorted((node, local) for node, size in nodes.items() for local in range(int(str(size))))
    devices = [entry["device"] for entry in ranks if entry["device"]]
    shared = sorted({str(device) for device in devices if devices.count(device) > 1})
    everybody = list(range(len(ranks)))
    return [
        Check("ranks are contiguous", numbers == everybody, str(numbers), f"0 to {len(ranks) - 1} in order"),
        Check("ranks are the launched ones", launched == numbers, str(launched), str(numbers)),
        Check("every node is full", sorted(places) == wanted, str(sorted(places)), str(wanted)),
        Check("no device serves two ranks", not shared, f"shared: {shared}", "shared: []"),
    ]


def check_free_memory(ranks: list[dict[str, object]]) -> list[Check]:
    """The devices are nearly empty before the job allocates anything; no check on a CPU."""
    free = [float(str(entry["free_memory"])) for entry in ranks if entry["free_memory"] is not None]
    if not free:
        return []
    expected = f"at least {MIN_FREE_MEMORY:.0%} on every device"
    return [Check("device memory is free", min(free) >= MIN_FREE_MEMORY, f"{min(free):.1%}", expected)]


def find_mismatches(softwares: list[dict[str, str]]) -> dict[str, list[str]]:
    """The software entries that differ between ranks, with the values found."""
    keys = sorted({key for software in softwares for key in software})
    values = {key: sorted({software.get(key, "absent") for software in softwares}) for key in keys}
    return {key: found for key, found in values.items() if len(found) > 1}


def time_barriers(world: World, rounds: int) -> Summary:
    """Microseconds of a one-element all_reduce closed by a device sync; per round the slowest rank counts."""
    times = torch.zeros(rounds, dtype=torch.float64)
    for i in range(rounds):
        start = time.perf_counter()
        barrier(world)
        times[i] = 1e6 * (time.perf_counter() - start)
    times = times.to(world.device)
    dist.all_reduce(times, dist.ReduceOp.MAX)
    return summarize(times.tolist())


def time_store(world: World, rounds: int) -> float:
    """Median microseconds of a set and a get of this rank's own key in the store, slowest rank."""
    times = []
    for i in range(rounds):
        start = time.perf_counter()
        world.store.set(f"round_trip/{world.rank}", str(i))
        world.store.get(f"round_trip/{world.rank}")
        times.append(1e6 * (time.perf_counter() - start))
    return slowest(world, summarize(times).p50)


def measure_clock_skew(world: World) -> float:
    """Milliseconds between the earliest and the latest system clock, read as all leave a barrier.

    The least of ten readings: leaving at different moments only ever adds to it. An upper bound, good to
    about the latency of a barrier.
    """
    readings = []
    for _ in range(10):
        barrier(world)
        now = gather(world, time.time())
        readings.append(1e3 * (max(now) - min(now)))
    return min(readings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timeout-s", type=float, default=20, help="longest wait for a rank (20)")
    parser.add_argument("--rounds", type=int, default=100, help="barriers and store round trips to time (100)")
    args = parser.parse_args()
    with open_world(args.timeout_s) as world:
        return measure(world, args.rounds)


def measure(world: World, rounds: int) -> int:
    """Run all checks and measurements; the exit code."""
    ranks = gather(world, describe_self(world))
    softwares = gather(world, describe_software(world.device))
    mismatches = find_mismatches(softwares)
    checks = [*check_reductions(world), *check_exact_sums(world), *check_places(ranks)]
    checks += check_free_memory(ranks)
    checks += [Check("equal software on all ranks", not mismatches, str(mismatches), "no difference")]
    barriers = time_barriers(world, rounds)
    nodes = {entry["node"] for entry in ranks}
    metrics = {
        "init_time_s": slowest(world, world.join_s),
        "barrier_us_p50": barriers.p50,
        "barrier_us_p99": barriers.p99,
        "store_us_p50": time_store(world, rounds),
        "clock_skew_ms": measure_clock_skew(world),
        "nodes": len(nodes),
        "ranks": len(ranks),
        "gpu_per_node": sum(entry["device"] is not None for entry in ranks) / len(nodes),
        "version_mismatches": len(mismatches),
    }
    if world.rank == 0:
        for entry in ranks:
            print("rank", *(f"{key}={value}" for key, value in entry.items()))
        print("software", *(f"{key}={value}" for key, value in softwares[0].items()))
    return finish(world, checks, metrics)


if __name__ == "__main__":
    run_to_exit(main)
