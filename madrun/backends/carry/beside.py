"""madrun laid beside a launch's script, where the folder of the launch is all that its nodes get."""

from __future__ import annotations

from pathlib import Path

from madrun.backends.carry.bundle import bundle, unpack
from madrun.spec.launch import CARRIED


def lay_beside(folder: Path, cache_folder: Path) -> None:
    """This madrun, to be started as `CARRIED` in the folder; `UsageError` where a part of it is missing here."""
    program = folder / CARRIED
    place = program.parents[1]
    unpacked = unpack(bundle(cache_folder), folder / ".unpacked")
    unpacked.rename(place)
    unpacked.parent.rmdir()
