"""The name of a launch where letters are scarce."""

from __future__ import annotations

import re

from madrun.spec.launch import Launch


def plain_name(launch: Launch) -> str:
    """`madrun-` and the launch's id in lower case letters, digits and hyphens: what Compose and SkyPilot both take."""
    return "madrun-" + re.sub(r"[^a-z0-9]+", "-", launch.id.lower()).strip("-")
