"""What one command for all nodes costs: joining by ssh, rendering for many nodes, the bookkeeping of a long suite.

    python benchmarks/launch.py [--nodes 16] [--rounds 3] [--only ssh|render|suite]

ssh: nodes of the tests, each with an sshd of its own and no madrun; the time runs from the command until the script
has begun on every one of them, that is, until all agents have joined. Beside it, by turns: a plain loop of parallel ssh
to the same nodes, and pdsh where it is installed; both print a date there and do nothing else. Rendering: the files of
each backend for 10,000 nodes against those for 10. Suite: a driver that starts nothing, 1,000 cases against 100.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
for place in ("tests/e2e", "tests/suites"):
    sys.path.insert(0, str(ROOT / place))

MANY, FEW = "node[00001-10000]", "node[00001-00010]"
BEGUN = 'echo "performance: $(date +%s.%N) begun"\n'


def median_of(rounds: int, once: Callable[[], float]) -> float:
    """Seconds; the first round is dropped."""
    return statistics.median([once() for _ in range(rounds + 1)][1:])


def row(name: str, ours: float, theirs: float | None, unit: str = "s", note: str = "") -> None:
    """One line of the table."""
    other = f"{theirs:9.3f} {ours / theirs:8.2f}x" if theirs else f"{'-':>9} {'-':>9}"
    print(f"{name:<52} {ours:9.3f} {other}   {unit}{'  ' + note if note else ''}", flush=True)


def by_ssh(count: int, rounds: int) -> None:
    """Until every agent has joined."""
    from ssh_nodes import ssh_bed, ssh_nodes

    from madrun.probe.engine import connect

    client, _ = connect("docker")
    base = Path(tempfile.mkdtemp(prefix="madrun-bench-"))
    try:
        with ssh_nodes(client, count, engine=False) as made, ssh_bed(made, base) as bed:
            bed.add("begin", BEGUN, images={}, metrics={"begun": {}})
            first = joined(bed)
            plain = median_of(rounds, lambda: loop(bed))
            warm = median_of(rounds, lambda: joined(bed))
            row(f"{count} nodes have joined, madrun is brought there / ssh loop", first, plain)
            row(f"{count} nodes have joined, madrun lies there / ssh loop", warm, plain)
            if shutil.which("pdsh"):
                row(f"{count} nodes have joined, madrun lies there / pdsh", warm, median_of(rounds, lambda: pdsh(bed)))
    finally:
        shutil.rmtree(base, ignore_errors=True)


def joined(bed: Any) -> float:
    """From the command until the last node's script has begun; the nodes have this machine's clock."""
    began = time.time()
    words = ("run", "--on", "ssh", "--hosts", bed.hosts, "--tags", "begin", "--runtime", "process", "--quiet")
    started = bed.madrun(*words)
    if started.wait(300):
        sys.exit(f"madrun {' '.join(words)} failed:\n{started.output}")
    newest = max((bed.folder / "results/runs").iterdir(), key=lambda path: path.stat().st_mtime)
    consoles = [path.read_text() for path in newest.glob("node-*/console.log")]
    times = [float(text.split("performance: ")[1].split()[0]) for text in consoles]
    if len(times) != len(bed.names):
        sys.exit(f"{newest}: found {len(times)} consoles, allowed: {len(bed.names)}")
    return max(times) - began


def loop(bed: Any) -> float:
    """Parallel ssh in a shell, until the last date is there."""
    text = "".join(f"ssh -o BatchMode=yes {name} date +%s.%N &\n" for name in bed.names) + "wait\n"
    return last_date(["sh", "-c", text], bed, {})


def pdsh(bed: Any) -> float:
    """The same by pdsh, which calls the ssh of the bed."""
    return last_date(
        ["pdsh", "-R", "ssh", "-f", "64", "-N", "-w", bed.hosts, "date +%s.%N"], bed, {"PDSH_SSH_ARGS": "%h"}
    )


def last_date(words: list[str], bed: Any, more: dict[str, str]) -> float:
    """Seconds from the start until the newest of the dates that the command printed."""
    began = time.time()
    done = subprocess.run(words, env={**bed.env, **more}, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    dates = [float(line) for line in done.stdout.split()]
    if len(dates) != len(bed.names):
        sys.exit(f"{words}: {done.stdout}{done.stderr}")
    return max(dates) - began


def rendering(rounds: int) -> None:
    """The hosts' grammar, and from the words of a command to the files of a launch."""
    from madrun.backends.ssh.hosts import parse_hosts
    from madrun.backends.ssh.settings import read_text

    took = [median_of(rounds, lambda word=word: timed(lambda: parse_hosts(word, read_text))) for word in (MANY, FEW)]
    row("hosts: 10,000 / 10", *took)
    folder = Path(tempfile.mkdtemp(prefix="madrun-bench-"))
    try:
        card = folder / "models/begin"
        card.mkdir(parents=True)
        (card / "model.yaml").write_text(
            'name: begin\nscript: run.sh\nimages: {cpu: {image: "registry.example/i:1"}}\n'
        )
        (card / "run.sh").write_text(BEGUN)
        for on in ("ssh", "slurm", "kubernetes", "compose", "skypilot"):
            size = rendered(folder, on, 10_000)
            took = [median_of(rounds, lambda n=n, on=on: timed(lambda: rendered(folder, on, n))) for n in (10_000, 10)]
            row(f"{on}: plan and files for 10,000 nodes / 10 nodes", *took, note=f"{size / 1024:.0f} KiB")
    finally:
        shutil.rmtree(folder)


def rendered(folder: Path, on: str, count: int) -> int:
    """Bytes of all files of a launch on so many nodes, of which none is written."""
    from madrun.backends.launchfolder import files_of
    from madrun.cli.launching import Asked, make_launch
    from madrun.cli.launchoptions import LaunchOptions
    from madrun.cli.options import RunOptions

    hosts = (MANY if count > 10 else FEW) if on == "ssh" else None
    launch = LaunchOptions(on=on, hosts=hosts, nodes=None if hosts else count)
    options = RunOptions(tags=["begin"], repo=str(folder), results=str(folder / "results"))
    made = make_launch(Asked(options=options, launch=launch))
    return sum(map(len, {**files_of(made.launch), **made.rendered()}.values()))


def suites(rounds: int) -> None:
    """What a driver adds to its cases: journal, records, summary."""
    big, small = (median_of(rounds, lambda n=n: drive(n)) for n in (1000, 100))
    row("suite of 1,000 cases: driven to the end / 100 cases", big, small)
    row("  per case / a line written and synced", big, synced(1000), "ms")
    folder, made = begun(1000)
    try:
        driven(folder, made)
        took = median_of(rounds, lambda: timed(lambda: folder.progress(folder.suite())))
        row("  read again, to go on", took, None)
    finally:
        shutil.rmtree(folder.path.parent.parent)


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def begun(count: int) -> Any:
    from suite_parts import suite

    from madrun.suites.folder import SuiteFolder

    results = Path(tempfile.mkdtemp(prefix="madrun-bench-"))
    made = suite(*(f"case {number}" for number in range(count)), results=str(results))
    folder = SuiteFolder(results / "suites" / made.id)
    folder.write(made)
    return folder, made


def driven(folder: Any, made: Any) -> float:
    """Every case writes the record of one run, as real ones do, whose time is not counted."""
    from suite_parts import record

    from madrun.cli.suitedrive import Drive, How
    from madrun.node.task import Interrupt
    from madrun.results.rundir import RunDir

    apart = 0.0

    def start(asked: Any, _interrupt: Any) -> tuple[int, float]:
        nonlocal apart
        began = time.perf_counter()
        run = RunDir(Path(made.results) / "runs" / f"20261121T000000Z-{abs(hash(asked.tag)):x}-1")
        run.path.mkdir(parents=True)
        run.write_record(replace(record(), run_id=run.run_id, provenance={"case": asked.tag}))
        apart += time.perf_counter() - began
        return 0, 1.0

    drive = Drive(folder=folder, suite=made, how=How(quiet=True), interrupt=Interrupt(), start=start)
    took = timed(drive.run) - apart
    if drive.progress.count("success") != len(made.cases):
        sys.exit("the suite has not come to its end")
    return took


def drive(count: int) -> float:
    folder, made = begun(count)
    try:
        return driven(folder, made)
    finally:
        shutil.rmtree(folder.path.parent.parent)


def synced(count: int) -> float:
    """Seconds for twice so many lines, each on disk before the next."""
    with tempfile.TemporaryFile(dir=tempfile.gettempdir()) as file:

        def write() -> None:
            for _ in range(2 * count):
                os.write(file.fileno(), b"x" * 300 + b"\n")
                os.fdatasync(file.fileno())

        return timed(write)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["ssh", "render", "suite"])
    options = parser.parse_args()
    print(f"{'':<52} {'madrun':>9} {'other':>9} {'ratio':>9}")
    if options.only in (None, "render"):
        rendering(options.rounds)
    if options.only in (None, "suite"):
        suites(options.rounds)
    if options.only in (None, "ssh"):
        by_ssh(options.nodes, options.rounds)


if __name__ == "__main__":
    main()
