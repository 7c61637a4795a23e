"""What the processes of a script see while they run: read from the kernel, not from what madrun says."""

from __future__ import annotations

from pathlib import Path

from three_nodes import Node


def container_env(node: Node, mark: str) -> dict[str, str]:
    """The environment of the newest process in the node that has this word on its command line."""
    return environment_of(max(node.processes(mark)))


def environment_of(pid: int) -> dict[str, str]:
    """The environment with which a process of this machine, in whatever container, was started; proc(5)."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)
