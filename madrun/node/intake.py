"""Node 0's side of deliveries: files of other nodes, written below the run's directory."""

from __future__ import annotations

from pathlib import Path


class Intake:
    """Takes files from the moment a run's directory is named until it is closed."""

    def open(self, run: Path) -> None:
        """What nodes deliver from now on goes to `node-<rank>/` of this directory."""

    def close(self) -> None:
        """Takes no more."""
