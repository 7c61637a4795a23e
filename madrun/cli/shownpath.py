"""A path of a run as its reader finds it."""

from __future__ import annotations

import os
from pathlib import Path

from madrun.spec.launch import RESULTS, SHOWN


def shown_path(path: Path) -> str:
    """The path from the current directory; on a node whose results are brought elsewhere, where they will lie there."""
    here, there = os.environ.get(RESULTS), os.environ.get(SHOWN)
    if here and there and path.absolute().is_relative_to(here):
        return os.path.normpath(os.path.join(there, os.path.relpath(path, here)))  # noqa: PTH118
    return os.path.relpath(path)
