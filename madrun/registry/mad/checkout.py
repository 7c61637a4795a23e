"""What of a checkout stands in the workspace of a run, and what of it is left out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from madrun.registry.cardtree import IGNORED, work_files
from madrun.registry.mad.tools import SHIPPED
from madrun.spec.card import Card
from madrun.spec.mad import COMMON, MODELS, RUN_DIRECTORY, Entry

GIT = ".git"
SECRETS = "credential.json"  # what a card needs of it, it gets as variables
_SMALL = 16 << 20  # a larger file is mounted
_FEW = 24  # folders of scripts/ that are mounted one by one without being asked for
_READ = 1 << 20
_RUN_ID = re.compile(r"\d{8}T\d{6}Z-.+")
# What runs of madrun and of other tools for such repositories write into the root; never input of another run.
_WRITTEN = ("perf.csv", "perf.html", "perf_entry*", "perf_super*", "common_info.json", "*.live.log", "*_env.csv")
_RESULTS = ("perf*.csv", "*_output.csv", "*_trace.csv")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands beside the script, and the names of earlier runs' results that do not."""

    entries: tuple[Entry, ...]
    stale: tuple[str, ...] = ()


def surroundings(card: Card, files: Mapping[str, Path], copied: bool, layered: bool) -> Surroundings:
    """Of the card's checkout, folders as they are and small files of its root as copies; madrun's scripts/common.

    `copied`: copies of everything but .git and models. `layered`: one folder can be mounted over a part of another.
    """
    assert card.mad is not None
    repository = Path(card.repository)
    entries: list[Entry] = []
    stale: list[str] = []
    for path in sorted(repository.iterdir()):
        if not _is_input(path, card.mad.directory):
            continue
        if path.is_dir():
            entries.append(_entry(path, path.name, copied and path.name != GIT and not path.name.startswith(MODELS)))
        elif _is_result(path, card):
            stale.append(path.name)
        else:
            entries.append(_entry(path, path.name, _is_small(path)))
    return Surroundings(tuple(_with_common(entries, repository, files, layered)), tuple(stale))


def root_files(card: Card) -> dict[str, Path]:
    """The files of a card whose script lies in the root: all of the checkout but what no workspace has, by name.

    What a link leads to outside of the checkout stands in the workspace's root alone.
    """
    assert card.mad is not None
    repository = Path(card.repository)
    found: dict[str, Path] = {}
    for path in sorted(repository.iterdir()):
        if not _is_input(path, card.mad.directory) or path.name == GIT or path.name.startswith(MODELS):
            continue
        if path.is_dir() and not path.resolve().is_relative_to(repository.resolve()):
            continue
        if path.is_dir():
            inside = work_files(path, (), repository)
            found |= {f"{path.name}/{name}": file for name, file in inside.items()}
        elif not _is_result(path, card):
            found[path.name] = path
    return found


def _is_result(path: Path, card: Card) -> bool:
    return path.name == card.multiple_results or any(fnmatch(path.name, pattern) for pattern in _RESULTS)


def _is_input(path: Path, directory: str) -> bool:
    """Whether it is a folder or a file that a run may see."""
    written = path.is_file() and any(fnmatch(path.name, pattern) for pattern in _WRITTEN)
    return not _left_out(path, directory) and not written and (path.is_dir() or path.is_file())


def _entry(path: Path, name: str, copied: bool) -> Entry:
    return Entry(name, str(path.resolve()), path.is_dir(), copied)


def _left_out(path: Path, directory: str) -> bool:
    if path.name in (RUN_DIRECTORY, directory, SECRETS):
        return True
    return (path.name in IGNORED and path.name != GIT) or (path.is_dir() and _holds_runs(path))


def _holds_runs(folder: Path) -> bool:
    """Whether this is where runs of madrun go, whatever it is named."""
    runs = folder if folder.name == "runs" else folder / "runs"
    with suppress(OSError):  # one that may not be listed is somebody else's
        return any(_RUN_ID.fullmatch(run.name) for run in runs.iterdir())
    return False


def _with_common(entries: list[Entry], repository: Path, files: Mapping[str, Path], layered: bool) -> Iterator[Entry]:
    """The entries with madrun's own part of scripts/common; what the repository has there stays its own.

    Nothing can be mounted where the checkout has no place for it: there `scripts` is made of its parts, which is left
    aside where they are many and nothing asks for those files.
    """
    own = _children(repository / COMMON)
    added = [path for path in sorted(SHIPPED.iterdir()) if path.name not in {one.name for one in own}]
    scripts = next((entry for entry in entries if entry.name == "scripts" and entry.is_folder), None)
    common = [
        *(_entry(path, f"{COMMON}/{path.name}", _is_small(path)) for path in own),
        *(_entry(path, f"{COMMON}/{path.name}", True) for path in added),
    ]
    if not added or scripts is None:
        yield from entries
    elif scripts.copied:
        yield from (*entries, *common[len(own) :])
    elif layered and (repository / COMMON).is_dir():
        yield from (*entries, *common)
    else:
        parts = [path for path in _children(repository / "scripts") if path.name != "common"]
        if len(parts) > _FEW and not _asks_for_common(files.values()):
            yield from entries
            return
        yield from (entry for entry in entries if entry is not scripts)
        yield from (_entry(path, f"scripts/{path.name}", _is_small(path)) for path in parts)
        yield from common


def _children(folder: Path) -> list[Path]:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if path.name not in IGNORED and (path.is_dir() or path.is_file())]


def _is_small(path: Path) -> bool:
    """Whether a copy of it is cheap, and possible for this user."""
    return path.is_file() and path.stat().st_size <= _SMALL and os.access(path, os.R_OK)


def _asks_for_common(files: Iterable[Path]) -> bool:
    """Whether the card's files, or what is run around its script, speak of scripts/common."""
    for path in files:
        if path.is_relative_to(SHIPPED):
            return True
        with path.open("rb") as file:
            if COMMON.encode() in file.read(_READ):
                return True
    return False
