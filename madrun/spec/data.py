"""Where the data of a card come from, and where they lie for a run. Nothing here is secret."""

from __future__ import annotations

from dataclasses import dataclass

DATA_HOME = "/data_dlm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """One way to get a copy of the data: the provider, and what it calls the place.

    `more`: the rest of what tells the data: the server, or the arguments of a script.
    """

    provider: str
    place: str
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The data of one name on this host.

    `path`: where the run finds them. `fetches`: the ways to fill it first, the preferred one first; none where it is
    the source itself, or another node fills it. `own`: every node fills the path that it sees, whether or not others
    see the same one; the first to come does it. `home`: beginning of the path in the container.
    """

    name: str
    provider: str
    path: str
    home: str = DATA_HOME
    fetches: tuple[Fetch, ...] = ()
    own: bool = False
    writable: bool = False
