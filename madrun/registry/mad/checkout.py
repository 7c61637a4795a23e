"""The entries of a checkout that its scripts may look for beside them."""

from __future__ import annotations

from pathlib import Path

from madrun.registry.cardtree import IGNORED
from madrun.spec.mad import Entry

_LEFT_OUT = IGNORED | {"results", "run_directory"}


def entries(repository: Path) -> tuple[Entry, ...]:
    """Every folder of the root."""
    found = [path for path in sorted(repository.iterdir()) if path.is_dir() and path.name not in _LEFT_OUT]
    return tuple(Entry(path.name, str(path.resolve()), True) for path in found)
