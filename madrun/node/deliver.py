"""The files of a node on their way to node 0, where the nodes share no results directory."""

from __future__ import annotations

from pathlib import Path

from madrun.node.link import Link


def deliver(link: Link, folder: Path) -> tuple[str, ...]:
    """Brings `node-<rank>/` to node 0; notes on what did not come, and why."""
    return ()
