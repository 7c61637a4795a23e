"""No runner: the script starts its processes itself, from the variables that say how the nodes meet."""

from __future__ import annotations

from madrun.spec.topology import Topology


def command(_topology: Topology) -> str:
    """Nothing: the variable is set all the same, so that a script with `set -u` lives."""
    return ""


def env(_topology: Topology) -> dict[str, str]:
    """Nothing: what is the same for all runners is set by the plan."""
    return {}
