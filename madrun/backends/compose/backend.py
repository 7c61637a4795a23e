"""compose: all nodes on one machine, brought up by docker compose from a rendered file."""

from __future__ import annotations

from madrun.backends.compose.render import render
from madrun.backends.compose.settings import read

__all__ = ["read", "render"]
