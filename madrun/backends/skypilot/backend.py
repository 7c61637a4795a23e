"""skypilot: all nodes on machines that SkyPilot finds, by a rendered task."""

from __future__ import annotations

from madrun.backends.skypilot.render import render
from madrun.backends.skypilot.settings import read

__all__ = ["read", "render"]
