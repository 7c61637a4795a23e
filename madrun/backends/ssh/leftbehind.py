"""What a launch has on its hosts: written down, so that it comes home and goes away though its command was killed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.look import CLEARED
from madrun.backends.ssh.carrying import Place, bring_home, clear, still_running
from madrun.backends.ssh.connection import Connections
from madrun.backends.ssh.settings import read
from madrun.errors import UsageError
from madrun.spec.codec import from_plain, to_json
from madrun.spec.launch import BROUGHT_HOME
from madrun.spec.validation import Invalid

PLACES = "places.json"  # in the folder of the launch, as long as it may have something on its hosts


def results_of(place: Place) -> str:
    """`HOST:PATH` of results that are to come home; empty where they are shared."""
    return f"{place.host}:{place.results}" if place.results else ""


def note_places(folder: LaunchFolder, places: Sequence[Place]) -> None:
    """Writes down where everything lies, before anything is started there."""
    folder.keep(PLACES, to_json(list(places)))


def are_noted(folder: LaunchFolder) -> bool:
    """Whether something of the launch may still lie on its hosts."""
    return (folder.path / PLACES).exists()


def note_cleared(folder: LaunchFolder, places: Sequence[Place], left: Sequence[str]) -> None:
    """Writes down what stays on the hosts; where no results are among it there is nothing more to bring home."""
    folder.journal(CLEARED, left=list(left))
    if results_of(places[0]) not in left:
        (folder.path / PLACES).unlink(missing_ok=True)


def bring_late(folder: LaunchFolder, here: Sequence[str]) -> tuple[str, ...]:
    """Brings home what lies on node 0 of a launch that nobody attends any more, and clears its hosts.

    The names of the runs that are home now; `here` are those that were before. `UsageError` where node 0 is not
    reached, where a madrun has not ended yet on a host, and for what keeps results from coming: all stays as it is.
    """
    launch, places = folder.launch(), _places(folder)
    settings, _ = read(launch.settings, launch.nnodes)
    with Connections(settings) as connections:
        if lost := connections.open([places[0].host]):
            raise UsageError(f"bringing home the results: {places[0].host}: {lost[places[0].host]}")
        silent = connections.open([place.host for place in places[1:]])
        reached = [place for place in places if place.host not in silent]
        if still := still_running(connections, reached):
            raise UsageError(f"bringing home the results: {still}")
        names = bring_home(connections, places[0], folder, launch, here)
        if names:
            folder.journal(BROUGHT_HOME, runs=list(names))
        left = clear(connections, reached)  # on a silent host a later launch removes it, once it is a month old
    note_cleared(folder, places, left)
    return names


def _places(folder: LaunchFolder) -> tuple[Place, ...]:
    try:
        return from_plain(tuple[Place, ...], json.loads((folder.path / PLACES).read_text(encoding="utf-8")))
    except (OSError, ValueError, Invalid) as error:
        raise UsageError(f"{folder.path / PLACES} cannot be read: {error}") from None
