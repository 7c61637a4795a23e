"""What of a node's directory is brought to node 0, in which order, and what is left where it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from madrun.node.delivery.parcel import Item, name_problem
from madrun.results.regular import kind_of, readable
from madrun.units import format_size

FILE_LIMIT = 256 << 20
_MOST_NAMES = 10
_NOT_BROUGHT = ("box", "agent.lock")  # of this host alone, and of no use elsewhere
_LOGS = ("console.log", "ranks")


@dataclass(frozen=True, slots=True)
class Cargo:
    """Items in the order in which they travel, and what stays, each with the reason."""

    items: tuple[Item, ...]
    left: tuple[tuple[str, str], ...]

    @property
    def size(self) -> int:
        """Bytes of all items."""
        return sum(item.size for item in self.items)


def survey(folder: Path, limit: int) -> Cargo:
    """The files below the folder up to so many bytes: logs first, then what madrun wrote, then output by size."""
    items, left, total = [], [], 0
    found = sorted(_walk(folder), key=lambda entry: (_turn(entry[0].words), entry[0].size, entry[0].name))
    for item, problem in found:
        why = problem
        if not why and item.size > FILE_LIMIT and item.words[0] not in _LOGS:
            why = f"{format_size(item.size)}, more than {format_size(FILE_LIMIT)} for a file"
        if not why and total + item.size > limit:
            why = f"{format_size(item.size)}, more than is left of {format_size(limit)} (collect_limit)"
        if why:
            left.append((item.name, why))
            continue
        total += item.size
        items.append(item)
    return Cargo(tuple(items), tuple(left))


def _turn(words: list[str]) -> int:
    """What a person looks at first comes first."""
    if words[0] in _LOGS:
        return _LOGS.index(words[0])
    return 4 if words[0] == "output" else 3 if len(words) > 1 else 2


def _walk(folder: Path) -> Iterator[tuple[Item, str]]:
    """Every file, link and empty directory, and why it cannot be brought where it cannot."""
    for parent, folders, names in os.walk(folder):
        base = os.path.relpath(parent, folder)
        if base == ".":
            for unwanted in [name for name in folders if name in _NOT_BROUGHT or name.startswith(".")]:
                folders.remove(unwanted)
            names = [name for name in names if name not in _NOT_BROUGHT and not name.startswith(".")]
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]  # noqa: PTH114, PTH118 - many
        for name in (*names, *links):
            yield _item(Path(parent, name), name if base == "." else f"{base}/{name}")
        if not folders and not names and base != ".":
            yield Item(base, "dir"), ""


def _item(path: Path, name: str) -> tuple[Item, str]:
    try:
        status = path.lstat()
        link = str(path.readlink()) if stat.S_ISLNK(status.st_mode) else ""
    except OSError as error:
        return Item(name), error.strerror or str(error)
    if not stat.S_ISREG(status.st_mode) and not link:
        return Item(name), kind_of(status.st_mode)
    kind, size = ("link", 0) if link else ("file", status.st_size)
    item = Item(name, kind, size, stat.S_IMODE(status.st_mode) & 0o777, link)
    return item, name_problem(item)


def remarks(left: list[tuple[str, str]], place: str) -> tuple[str, ...]:
    """Notes for the record: what did not come to node 0, why, and where it lies; ten names and a number at most."""
    reasons = {why for _, why in left}
    if len(left) > 1 and len(reasons) == 1:
        names = ", ".join(readable(name) for name, _ in left[:_MOST_NAMES])
        names += f" and {len(left) - _MOST_NAMES} more" if len(left) > _MOST_NAMES else ""
        return (f"{len(left)} files were not brought to node 0: {reasons.pop()}; they lie in {place}: {names}",)
    texts = [
        f"{readable(name)} was not brought to node 0: {why}; it lies in {place}" for name, why in left[:_MOST_NAMES]
    ]
    more = len(left) - _MOST_NAMES
    return (*texts, *([f"{more} more files were not brought to node 0; they lie in {place}"] if more > 0 else []))
