"""What launches that are over have left on the launching host, for `madrun gc`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from madrun.backends.launchfolder import PRIVATE_NAME, LaunchFolder
from madrun.backends.table import UNATTENDED
from madrun.cli.launches import attendant_of, known_launches, launch_state
from madrun.cli.which import attendants
from madrun.errors import MadrunError
from madrun.locks import is_held
from madrun.node.seeing.presence import registered
from madrun.node.seeing.remains import Remain, size_of
from madrun.spec.launch import HOME_LOCK, PRIVATE

_LEFT = {
    PRIVATE: "secret values that no node needs any more",
    f"{PRIVATE_NAME}*": "secret values that no node needs any more",
    "home-*": "results that were being brought home when their madrun was killed; madrun status brings them",
}


def of_launches(results: Path) -> Iterator[Remain]:
    """Entries of attendants that were killed, and in the folders of launches that are over what was to go with them."""
    for resident, state, file in registered(attendants()):
        if state == "dead":
            yield Remain("entry", file.name, f"its madrun (pid {resident.pid}) is dead", None, (resident, file))
    for path in known_launches(results).values():
        found = [(place, why) for pattern, why in _LEFT.items() for place in sorted(path.glob(pattern))]
        if found and _is_over(LaunchFolder(path)):
            for place, why in found:
                yield Remain("launch", f"{path.name}/{place.name}", why, size_of(place), place)


def _is_over(folder: LaunchFolder) -> bool:
    """Whether nobody needs its files any more; not so where that cannot be told."""
    if attendant_of(folder) is not None or is_held(folder.path / HOME_LOCK):
        return False
    with suppress(MadrunError, OSError, ValueError):
        launch = folder.launch()
        phase = launch_state(folder, launch).phase
        return phase == "ended" or (phase == "lost" and launch.backend not in UNATTENDED)
    return False
