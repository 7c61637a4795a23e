"""No runner: the script starts its processes itself, from the variables that say how the nodes meet."""

from __future__ import annotations

from madrun.spec.topology import Starting, Topology


def command(_topology: Topology, _starting: Starting) -> str:
    """Nothing: the variable is set all the same, so that a script with `set -u` lives."""
    return ""
