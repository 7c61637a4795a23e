"""What the layers of a pull have come to, from the events of the Engine API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from madrun.units import format_size

# Podman says nothing after `Download complete`; docker unpacks and says `Pull complete`.
_DONE = ("Download complete", "Extracting", "Pull complete", "Already exists", "Pushed", "Layer already exists")
_MOVING = ("Downloading", "Pushing")
_LAYER = re.compile(r"[0-9a-f]{12}")


@dataclass(slots=True)
class Layers:
    """State of a pull. Bytes are those of the layers that have begun, so the total grows at first."""

    status: dict[str, str] = field(default_factory=dict)
    current: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)

    def add(self, event: Mapping[str, Any]) -> str:
        """Takes one event; the line for the log where it says something new, else nothing."""
        layer, status = str(event.get("id") or ""), str(event.get("status") or "")
        if not layer or not _LAYER.fullmatch(layer):
            return f"{layer} {status}".strip()
        detail = event.get("progressDetail") or {}
        if status in _MOVING and detail.get("total"):
            self.current[layer], self.total[layer] = int(detail.get("current") or 0), int(detail["total"])
        elif status not in _MOVING and layer in self.total and status not in ("Waiting", "Pulling fs layer"):
            self.current[layer] = self.total[layer]
        known = self.status.get(layer)
        self.status[layer] = status
        return f"{layer} {status}" if status != known else ""

    def summary(self) -> str:
        """As `3 of 7 layers, 412 MiB of 1.2 GiB`; empty before the first layer."""
        if not self.status:
            return ""
        done = sum(status in _DONE for status in self.status.values())
        text = f"{done} of {len(self.status)} layers"
        if self.total:
            text += f", {format_size(sum(self.current.values()))} of {format_size(sum(self.total.values()))}"
        return text
