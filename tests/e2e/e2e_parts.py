"""Plain functions of the end-to-end tests: waiting, looking, spelling."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Of all processes that test on this machine one at a time has this; the others wait for it."""
    with Path(tempfile.gettempdir(), f"madrun-test-{what}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def containers(client: Any, folder: Path) -> list[dict[str, Any]]:
    """Containers, running or not, that belong to runs below this folder."""
    found = client.containers(all=True, filters={"label": "madrun.run"})
    return [c for c in found if any(str(m.get("Source", "")).startswith(str(folder)) for m in c.get("Mounts", []))]


def two_nodes(rank: int, port: int, **more: str) -> str:
    """The context of one of two nodes on this machine."""
    args = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NNODES": "2", "NODE_RANK": str(rank)}
    return str({"multi_node_args": {**args, **more}})


def lay_out(folder: Path, card: str, driver: str) -> Path:
    """The box of node 0 as a run would have it below `folder`, which is a repository; for a command that is typed."""
    box = folder / "node-0/box"
    (box / "work").mkdir(parents=True)
    (box / "driver.sh").write_text(driver)
    (box / "steps").touch()
    shutil.copy(folder / "models" / card / "run.sh", box / "work")
    return box


def type_command(words: list[str], box: Path, env: dict[str, str] | None = None) -> None:
    """Types a printed command and plays its agent: the script's one line comes, and the driver ends with 0."""
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=env, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True) as typed:
        assert typed.stdin is not None
        assert typed.stdout is not None
        typed.stdin.write("go\n")
        typed.stdin.flush()
        assert typed.stdout.readline() == "performance: 1 speed\n"
        until(lambda: "exit 0" in (box / "steps").read_text(), 60, "the end of the script")
        assert typed.communicate("bye\n", timeout=120)[0] == ""
    assert typed.returncode == 0
