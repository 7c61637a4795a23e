"""Which run a command means."""

from __future__ import annotations

from pathlib import Path

from madrun.node.seeing.presence import REGISTRY, registered
from madrun.probe.environment import user_folder
from madrun.results.survey import find

LAUNCHES = "launches"


def registry() -> Path:
    """Where this user's agents say that they live."""
    return user_folder("cache") / REGISTRY


def attendants() -> Path:
    """Where this user's commands say which launches they attend."""
    return user_folder("cache") / LAUNCHES


def find_run(word: str, results: str) -> Path:
    """The directory of a run below --results, or of one that this host's registry knows; `UsageError` for none."""
    residents = [resident for resident, _, _ in registered(registry()) if resident.folder]
    known = {resident.run_id: Path(resident.folder).parent for resident in residents}
    return find(word, Path(results).absolute(), {run_id: path for run_id, path in known.items() if path.is_dir()})
