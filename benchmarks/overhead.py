"""What madrun itself costs, side by side and interleaved with what it is compared to, on this machine.

    python benchmarks/overhead.py [--rounds 10] [--log-mib 256]

Rows: `madrun --version` against `python -c pass`; a whole `madrun run` of a trivial cached card against plain
`docker run` of the same script in the same image; the same card on the process runtime against bash; a script
that prints much against `docker run ... > file`. Medians of wall time in seconds. Budgets: docs/costs.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

BIN = Path(sys.executable).parent
MADRUN = str(BIN / "madrun")
CARD = """name: {name}
script: run.sh
images: {{cpu: {{image: "{image}"}}}}
metrics: {{speed: {{primary: true}}}}
"""
SCRIPTS = {
    "trivial": "echo performance: 1 speed\n",
    "chatty": 'line=$(printf "%0127d" 7)\nyes "$line" | head -c {bytes}\necho performance: 1 speed\n',
}


def timed(command: list[str], cwd: Path, output: Path | None = None) -> float:
    """Seconds of one run of the command; a failing command ends the benchmark with its output."""
    with (output or cwd / "out.txt").open("wb") as target:
        started = time.monotonic()
        done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.STDOUT)
        seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{target.name}")
    return seconds


def compare(name: str, budget: str, rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
    """One row: both sides by turns, the first round of each dropped."""
    pairs = [(ours(), theirs()) for _ in range(rounds + 1)][1:]
    mine = statistics.median(pair[0] for pair in pairs)
    other = statistics.median(pair[1] for pair in pairs)
    extra = statistics.median(pair[0] - pair[1] for pair in pairs)
    print(f"{name:<34} {mine:8.3f} {other:8.3f} {extra:+8.3f} {mine / other:7.2f}x   {budget}", flush=True)


def make_repository(folder: Path, image: str, log_bytes: int) -> None:
    """Two cards in `folder`."""
    for name, script in SCRIPTS.items():
        card = folder / "models" / name
        card.mkdir(parents=True)
        (card / "model.yaml").write_text(CARD.format(name=name, image=image))
        (card / "run.sh").write_text(script.replace("{bytes}", str(log_bytes)))


def docker_run(folder: Path, image: str, name: str) -> list[str]:
    """Plain `docker run` of the card's script."""
    mount = f"type=bind,source={folder}/models/{name},target=/card"
    docker = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
    words = [docker, "run", "--rm", "--network", "host", "--mount", mount, "--entrypoint", "bash", image]
    return [*words, "/card/run.sh"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--log-mib", type=int, default=256)
    parser.add_argument("--image", default="", help="an image with bash; default: the base image of scripts/")
    options = parser.parse_args()
    image = options.image or base_image()
    folder = Path(tempfile.mkdtemp(prefix="madrun-bench-"))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        make_repository(folder, image, options.log_mib << 20)
        print(f"{'':<34} {'madrun':>8} {'other':>8} {'extra':>8} {'ratio':>8}   budget")
        rows(folder, image, options.rounds, options.log_mib)
    finally:
        shutil.rmtree(folder)


def base_image() -> str:
    """Name of the base image that scripts/base_image.sh makes."""
    script = Path(__file__).resolve().parent.parent / "scripts/base_image.sh"
    return subprocess.run(["bash", str(script)], check=True, capture_output=True, text=True).stdout.strip()


def rows(folder: Path, image: str, rounds: int, log_mib: int) -> None:
    """Every comparison."""

    def run(name: str, runtime: str) -> Callable[[], float]:
        words = [MADRUN, "run", "--tags", name, "--runtime", runtime]
        return lambda: timed(words, folder)

    def plain(words: list[str]) -> Callable[[], float]:
        return lambda: timed(words, folder)

    version = [MADRUN, "--version"]
    compare(
        "madrun --version / python -c pass", "+0.10 s", rounds, plain(version), plain([sys.executable, "-c", "pass"])
    )
    helping = [MADRUN, "--help"]
    compare("madrun --help / python -c pass", "+0.10 s", rounds, plain(helping), plain([sys.executable, "-c", "pass"]))
    trivial = docker_run(folder, image, "trivial")
    compare("trivial card / docker run", "+0.25 s", rounds, run("trivial", "docker"), plain(trivial))
    bash = ["bash", str(folder / "models/trivial/run.sh")]
    compare("trivial card, process / bash", "", rounds, run("trivial", "process"), plain(bash))
    chatty = docker_run(folder, image, "chatty")
    few = max(2, rounds // 3)
    compare(f"{log_mib} MiB of log / docker run > file", "1.1x", few, run("chatty", "docker"), plain(chatty))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory of any child process: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
