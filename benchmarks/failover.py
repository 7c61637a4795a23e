"""How soon nothing is left of a run on three nodes, for everything that may end it (docs/multi-node.md).

    python benchmarks/failover.py [--repeats 20] [--only WORDS] [--runtime docker|process]

The nodes are those of the tests: own address, own processes, own files, own docker engine. On each of them a script
and a child that left its session ignore SIGTERM; the grace period is 1 s. The time runs from the fault until the last
container and the last process of the run are gone on all nodes that have power. Victims change by turns.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/e2e"))

from bed import Bed
from faults import FAULTS, STUBBORN, Fault
from three_nodes import Node, nodes

GIVE_UP_S = 60.0


def seconds_of(fault: Fault, made: list[Node], victim: int, runtime: str) -> float:
    """From the fault until nothing is left; the nodes are as before afterwards."""
    bed = Bed(made, f"failover-{time.monotonic_ns()}", runtime)
    started = []
    try:
        bed.add("stubborn", STUBBORN)
        started = bed.start("stubborn", terminal=fault.name == "closed terminal")
        bed.until_running(started=started)
        since = time.monotonic()
        fault.inflict(bed, started, victim)
        seconds = bed.gone(GIVE_UP_S, fault.name, since)
        if fault.name == "madrun frozen":
            started[victim].signal(signal.SIGCONT)
        for one in started:
            one.wait(GIVE_UP_S)
        if fault.repair is not None:
            fault.repair(bed, started, victim)
    finally:
        bed.clean()
    return seconds


def row(fault: Fault, made: list[Node], runtime: str, repeats: int) -> None:
    """One line of the table."""
    seen = [seconds_of(fault, made, number % len(made), runtime) for number in range(repeats)]
    late = sum(seconds > fault.bound_s for seconds in seen)
    verdict = "" if not late else f"   LATE {late} of {repeats}"
    median, most = statistics.median(seen), max(seen)
    print(
        f"{fault.name:<20} {runtime:<8} {repeats:>4} {median:8.2f} {most:8.2f} {fault.bound_s:8.1f}{verdict}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--only", default="", help="faults whose name holds one of these words, with commas between")
    parser.add_argument("--runtime", choices=["docker", "process"], action="append")
    options = parser.parse_args()
    words = options.only.split(",")
    chosen = [fault for fault in FAULTS if any(word in fault.name for word in words)]
    if not chosen:
        sys.exit(f"--only {options.only}: allowed: words out of {', '.join(fault.name for fault in FAULTS)}")
    from madrun.probe.engine import connect

    client, _ = connect("docker")
    with nodes(client) as made:
        print(f"{'what happens':<20} {'runtime':<8} {'runs':>4} {'median':>8} {'maximum':>8} {'bound':>8}   (seconds)")
        for fault in chosen:
            for runtime in options.runtime or fault.runtimes:
                if runtime in fault.runtimes:
                    row(fault, made, runtime, options.repeats)


if __name__ == "__main__":
    main()
