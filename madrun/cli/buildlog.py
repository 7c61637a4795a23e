"""The logs of images that are made outside of a run, below `results/builds`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO


@dataclass(slots=True)
class BuildLog:
    """The log of one image; there is a file only once there is a line."""

    path: Path
    file: TextIO | None = field(default=None)

    def write(self, line: str) -> None:
        """Adds a line."""
        if self.file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("w", encoding="utf-8")
        self.file.write(line + "\n")
        self.file.flush()

    def close(self) -> None:
        """Nothing more comes."""
        if self.file is not None:
            self.file.close()

    @property
    def shown(self) -> str:
        """The file's path, empty where there is none."""
        return str(self.path) if self.file is not None else ""


def log_of(results: Path, name: str) -> BuildLog:
    """The log of the image whose name as a file is `name`."""
    return BuildLog(results / "builds" / f"{name}.log")
