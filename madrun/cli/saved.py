"""Finds what earlier runs have left: by path, or by the id of a run below --results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.errors import MadrunError, UsageError
from madrun.planning.explain import Explained
from madrun.results.rundir import EXPLAINED, PLAN, RECORD
from madrun.spec.codec import from_plain
from madrun.spec.facts import GitState
from madrun.spec.validation import Invalid, nearest

_OF_RUN, _OF_NODE = ("run_id", "provenance"), ("node", "facts", "image_identity", "image_id", "commit")


@dataclass(frozen=True, slots=True)
class First:
    """What the run directory beside a plan says of the first run on one node; empty where there is none.

    `image` is the identity of its image, of an older record the id; `madrun` the version that made the plan.
    `cloned` is the commit of what the card names with `url`.
    """

    run_id: str
    madrun: str
    record: Mapping[str, Any]
    image: str
    facts: Mapping[str, Any]
    explained: tuple[Explained, ...]
    cloned: str = ""

    @property
    def commit(self) -> GitState:
        """The repository's commit of then."""
        provenance = _map(self.record.get("provenance"))
        of = "repository" if "repository_commit" in provenance else "git"  # git: what `url` named
        return GitState(commit=provenance.get(f"{of}_commit", ""), dirty=provenance.get(f"{of}_dirty") == "true")


def first_run(file: Path, madrun: str, rank: int) -> First:
    """The run that the plan in `file` is of, as seen by the node of this rank."""
    folder = file.parent
    node = folder / f"node-{rank}"
    record = read_map(folder / RECORD)
    parts = record.get("nodes")
    mine = next((part for part in map(_map, parts if isinstance(parts, list) else ()) if part.get("node") == rank), {})
    try:
        explained = from_plain(tuple[Explained, ...], read_if_there(node / EXPLAINED) or [])
    except Invalid:
        explained = ()  # of another version: it is only shown
    return First(
        run_id=str(record.get("run_id") or folder.name) if record or node.is_dir() else "",
        madrun=madrun,
        record=record,
        image=str(mine.get("image_identity") or mine.get("image_id") or ""),
        facts=read_map(node / "host.json") or _map(mine.get("facts")),
        explained=explained,
        cloned=str(mine.get("commit") or ""),
    )


def for_nodes(file: Path) -> dict[str, Any]:
    """What `first_run` reads of the record beside the plan in `file`, for nodes that have that run nowhere."""
    record = read_map(file.parent / RECORD)
    parts = record.get("nodes")
    nodes = [
        {name: part[name] for name in _OF_NODE if name in part}
        for part in map(_map, parts if isinstance(parts, list) else ())
    ]
    return {name: record[name] for name in _OF_RUN if name in record} | {"nodes": nodes} if record else {}


def find_run(word: str, results: Path, flag: str) -> Path:
    """The run directory that a path or an id means; `UsageError` names ids that are near."""
    if not word:
        raise UsageError(f"{flag}: found '', allowed: a run's id or directory")
    for path in (Path(word).expanduser(), results / "runs" / word):
        if path.is_dir():
            return path
    raise UsageError(f"{flag}: {_nothing(word, results)}")


def find_plan(word: str, results: Path) -> Path:
    """The file of a saved plan: the file itself, that of a run directory, or that of a run by its id."""
    if not word:
        raise UsageError(f"--plan: found '', allowed: a run's id or directory, or a {PLAN}")
    file = Path(word).expanduser()
    if file.is_file():
        return file
    for folder in (file, results / "runs" / word):
        if folder.is_dir():
            if (folder / PLAN).is_file():
                return folder / PLAN
            raise UsageError(f"--plan: {folder} holds no {PLAN}; allowed: the directory of a run, or its {PLAN}")
    raise UsageError(f"--plan: {_nothing(word, results)}")


def _nothing(word: str, results: Path) -> str:
    runs = results / "runs"
    ids = sorted(path.name for path in runs.iterdir()) if runs.is_dir() else []
    near = nearest(word, ids)
    hint = f"the nearest: {', '.join(near)}" if near else f"the newest: {', '.join(ids[-3:]) or 'none'}"
    return f"{word!r} is neither a file nor a directory nor the id of a run below {runs}; {hint}"


def read_json(path: Path, flag: str, cut: type[MadrunError] = UsageError) -> Any:
    """The JSON of a file; `UsageError` where it cannot be read, `cut` where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{flag}: {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise cut(f"{flag}: {path} is no JSON: {error}; was it cut or edited?") from None


def read_if_there(path: Path) -> Any:
    """The JSON of a file that an older or unfinished run may lack; an empty map then."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def read_map(path: Path) -> dict[str, Any]:
    """As `read_if_there`, and an empty map also where the file holds something else."""
    return _map(read_if_there(path))


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
