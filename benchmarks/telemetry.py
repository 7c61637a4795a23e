"""What telemetry costs: the CPU time of the sampling thread, as a share of one core.

    python benchmarks/telemetry.py [--seconds 60] [--processes 64] [--image NAME]

Rows: a run whose processes are found among all of this host, with one process and with many; with --image also a
container of that image, which is read by its cgroup. Each second holds what a run does:
one row of telemetry written, a look for new output, and the decision whether the run stands still. The thread's own
CPU clock is read, so that other load on the machine does not count. Budget: 0.5 % of one core (docs/costs.md).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from madrun.node.watching import stall
from madrun.node.watching.sampling import Sampling
from madrun.node.workspace import Workspace
from madrun.probe.telemetry import Wanted, open_sources

BUDGET_PCT = 0.5


def measure(folder: Path, pid: int, seconds: float) -> tuple[float, int, float]:
    """Per cent of a core, columns, and seconds of CPU time to begin with, for a thread that samples so long."""
    result: list[tuple[float, int, float]] = []

    def sample() -> None:
        space = Workspace(folder)
        space.work.mkdir(parents=True, exist_ok=True)
        before = time.thread_time()
        sampling = Sampling(space.root / "telemetry.csv", open_sources(Wanted(vendor="cpu", pid=pid)), time.monotonic())
        idleness, traces = stall.Idleness(time.monotonic()), stall.Traces(space)
        sampling.take()
        opened = time.thread_time()
        due = started = time.monotonic()
        columns = 0
        while due < started + seconds:
            due += 1
            time.sleep(max(0.0, due - time.monotonic()))
            row = sampling.take()
            columns = len(row)
            idle = idleness.look(time.monotonic(), traces.changed() or stall.moves(row, 1))
            stall.stalled({0: stall.status("r", idle)}, "r", 1, 1e9)
        result.append(((time.thread_time() - opened) / seconds * 100, columns, opened - before))
        sampling.close()

    thread = threading.Thread(target=sample)
    thread.start()
    thread.join()
    return result[0]


def main() -> int:
    """0 where every row is within the budget."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--image", default="", help="an image that has sleep: a container of it is watched too")
    words = parser.parse_args()
    within = True
    print(f"{'run':<24} {'columns':>8} {'to begin':>10} {'of a core':>10}   budget {BUDGET_PCT} %")
    for count in (1, words.processes):
        children = [subprocess.Popen(["sleep", str(words.seconds + 60)]) for _ in range(count - 1)]
        try:
            within &= row(f"{count} processes", os.getpid(), words.seconds)
        finally:
            for child in children:
                child.kill()
                child.wait()
    if words.image:
        name = f"madrun-benchmark-{os.getpid()}"
        start = ["docker", "run", "-d", "--rm", "--network", "host", "--name", name, words.image]
        subprocess.run([*start, "sleep", str(words.seconds + 60)], check=True, stdout=subprocess.DEVNULL)
        try:
            asked = ["docker", "inspect", "-f", "{{.State.Pid}}", name]
            pid = int(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
            within &= row("a container", pid, words.seconds)
        finally:
            subprocess.run(["docker", "rm", "-f", name], check=True, stdout=subprocess.DEVNULL)
    return 0 if within else 1


def row(name: str, pid: int, seconds: float) -> bool:
    """Measures and prints one row; whether it is within the budget."""
    with tempfile.TemporaryDirectory() as folder:
        share, columns, begin = measure(Path(folder), pid, seconds)
    print(f"{name:<24} {columns:>8} {begin * 1000:>7.1f} ms {share:>8.3f} %", flush=True)
    return share <= BUDGET_PCT


if __name__ == "__main__":
    sys.exit(main())
