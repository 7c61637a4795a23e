"""Plain functions of the end-to-end tests: waiting, looking, spelling."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Seconds until the condition held; fails the test where it does not within the bound."""
    started = time.monotonic()
    while not condition():
        waited = time.monotonic() - started
        assert waited < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - started


def containers(client: Any, folder: Path) -> list[dict[str, Any]]:
    """Containers, running or not, that belong to runs below this folder."""
    found = client.containers(all=True, filters={"label": "madrun.run"})
    return [c for c in found if any(str(m.get("Source", "")).startswith(str(folder)) for m in c.get("Mounts", []))]


def two_nodes(rank: int, port: int, **more: str) -> str:
    """The context of one of two nodes on this machine."""
    args = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NNODES": "2", "NODE_RANK": str(rank)}
    return str({"multi_node_args": {**args, **more}})
