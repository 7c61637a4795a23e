"""What `madrun list` costs in a large model repository, side by side with the same walk done naively.

    python benchmarks/listing.py [--folders 1000] [--cards 10] [--native 1000] [--rounds 5]

The repository is generated: so many folders below scripts/, each with a models.json of so many cards. The naive walk is
plain Python: `rglob`, `json.loads`, names made whole, one `print` a card; it checks nothing. Medians of wall time in
seconds of whole commands, interleaved, the first round dropped. Budget: docs/costs.md. The last row is a repository of
native cards, one folder a card, against `rglob` and PyYAML's fastest loader.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MADRUN = str(Path(sys.executable).parent / "madrun")
NAIVE = """
import json, posixpath, sys
from pathlib import Path
root = Path(sys.argv[1])
for file in [root / "models.json", *sorted((root / "scripts").rglob("models.json"))]:
    for entry in json.loads(file.read_text()):
        folder = file.parent.relative_to(root)
        name = "/".join((*folder.parts[1:], entry["name"]))
        script = posixpath.normpath(str(folder / entry["scripts"]))
        print(name, ",".join(entry["tags"]), entry["n_gpus"], script, sep="  ")
"""
NAIVE_NATIVE = """
import sys, yaml
from pathlib import Path
for file in sorted(Path(sys.argv[1]).rglob("model.yaml")):
    card = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    print(card["name"], ",".join(card["tags"]), card["description"], sep="  ")
"""
NATIVE = """name: m{index}
script: run.sh
description: one of many cards
tags: [llm, training, t{tag}]
args: --batch 4
images:
  amd: {{dockerfile: Dockerfile, base: rocm/pytorch}}
  cpu: {{dockerfile: Dockerfile, base: python}}
metrics:
  speed: {{unit: tokens/s, higher_is_better: true, primary: true}}
"""


def make_repository(root: Path, folders: int, cards: int) -> None:
    """A MAD repository with folders x cards cards."""
    root.mkdir()
    (root / "models.json").write_text("[]\n")
    for index in range(folders):
        folder = root / f"scripts/d{index:04}"
        folder.mkdir(parents=True)
        (folder / "run.sh").write_text("echo performance: 1 x\n")
        (folder / "models.json").write_text(json.dumps([entry(number) for number in range(cards)], indent=4))


def entry(number: int) -> dict[str, object]:
    """One card with the fields that most cards have."""
    return {
        "name": f"m{number}",
        "url": "",
        "dockerfile": "../../docker/x",
        "scripts": "run.sh",
        "n_gpus": "-1",
        "owner": "somebody@somewhere",
        "training_precision": "fp16",
        "tags": ["llm", "training", f"t{number}"],
        "args": "--batch 4",
        "data": "",
        "timeout": -1,
        "multiple_results": f"perf_m{number}.csv",
        "skip_gpu_arch": "gfx90a",
    }


def make_native(root: Path, cards: int) -> None:
    """A repository with so many native cards."""
    for index in range(cards):
        folder = root / f"models/m{index}"
        folder.mkdir(parents=True)
        (folder / "run.sh").write_text("echo performance: 1 speed\n")
        (folder / "Dockerfile").write_text("ARG BASE_DOCKER\nFROM $BASE_DOCKER\n")
        (folder / "model.yaml").write_text(NATIVE.format(index=index, tag=index % 10))


def timed(words: list[str], root: Path, lines: int) -> Callable[[], float]:
    """Seconds of one run of the command, which has to print so many lines."""

    def once() -> float:
        with tempfile.TemporaryFile() as target:
            started = time.monotonic()
            done = subprocess.run(words, cwd=root, stdin=subprocess.DEVNULL, stdout=target)
            seconds = time.monotonic() - started
            target.seek(0)
            found = target.read().count(b"\n")
        if done.returncode or found != lines:
            sys.exit(f"{' '.join(words)[:80]} ended with {done.returncode} and {found} lines, not {lines}")
        return seconds

    return once


def compare(name: str, budget: str, rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> None:
    """One row: both sides by turns."""
    pairs = [(ours(), theirs()) for _ in range(rounds + 1)][1:]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{name:<44} {mine:8.3f} {other:8.3f} {mine - other:+8.3f} {mine / other:7.2f}x   {budget}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folders", type=int, default=1000)
    parser.add_argument("--cards", type=int, default=10, help="cards in each folder")
    parser.add_argument("--native", type=int, default=1000, help="native cards, 0 for none")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.pop("MODEL_DIR", None)
    folder = Path(tempfile.mkdtemp(prefix="madrun-bench-"))
    many = options.folders * options.cards
    try:
        root, native = folder / "mad", folder / "native"
        make_repository(root, options.folders, options.cards)
        print(f"{'':<44} {'madrun':>8} {'naive':>8} {'extra':>8} {'ratio':>8}   budget")
        naive = timed([sys.executable, "-c", NAIVE, str(root)], root, many)
        budget = "1 s" if many == 10_000 else ""
        compare(f"list of {many} cards", budget, options.rounds, timed([MADRUN, "list"], root, many), naive)
        one = [MADRUN, "list", "--tags", "d0000/m0"]
        compare(f"list of one of {many} cards", budget, options.rounds, timed(one, root, 1), naive)
        if options.native:
            make_native(native, options.native)
            theirs = timed([sys.executable, "-c", NAIVE_NATIVE, str(native)], native, options.native)
            ours = timed([MADRUN, "list"], native, options.native)
            compare(f"list of {options.native} native cards", "", options.rounds, ours, theirs)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
