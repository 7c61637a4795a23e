"""The logs of a run by the names that MAD gives them, and the table of what the run found around it."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from madrun.results.rundir import ENVIRONMENT

_HOST = ("kernel", "cpu", "cpus", "memory", "hostname", "machine", "python")


def stem_of(card: str, dockerfile: str, image: str) -> str:
    """What the names of the logs begin with: the card, and its Dockerfile, or its image where there is none."""
    name = dockerfile.rpartition("/")[2].removesuffix(".Dockerfile") or image.replace("/", "_").replace(":", "_")
    return "_".join(filter(None, (card.replace("/", "_"), name)))


def write_logs(folder: Path, stem: str, node: Path, timeout_s: float) -> None:
    """Copies of the build's and the script's log, and both joined; without a build the joined one has the script's."""
    build, run = folder / f"{stem}.build.live.log", folder / f"{stem}.run.live.log"
    for old in (build, run):
        old.unlink(missing_ok=True)
    if (node / "build.log").exists():
        shutil.copyfile(node / "build.log", build)
    limit = f"{timeout_s:g}" if timeout_s else "no limit, 0"
    with run.open("wb") as target:
        target.write(f"⏰ Setting timeout to {limit} seconds.\n".encode())
        if (node / "console.log").exists():
            with (node / "console.log").open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)
    with (folder / f"{stem}.live.log").open("wb") as target:
        for log in (build, run):
            if log.exists():
                with log.open("rb") as source:
                    shutil.copyfileobj(source, target, 1 << 20)


def write_environment(folder: Path, card: str, node: Path, lite: bool) -> None:
    """`<card>_env.csv`: what the host was, and unless `lite` all that is known of it and the script's variables."""
    host = _read(node / "host.json")
    if lite:
        host = {name: host[name] for name in (*_HOST, "accelerator") if name in host}
    rows = [*_flat("host", host)]
    if not lite:
        rows += _flat("variable", _read(node / ENVIRONMENT))
    with (folder / f"{card.replace('/', '_')}_env.csv").open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow(("name", "value"))
        writer.writerows(rows)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each leaf with its path, as `host.accelerator.vendor`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(f"{name}.{key}", item)
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for index, item in enumerate(value):
            yield from _flat(f"{name}.{index}", item)
    else:
        yield name, " ".join(map(str, value)) if isinstance(value, list) else str(value)
