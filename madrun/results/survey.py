"""Finds run directories by what people type, and reads what an unfinished one says. Nothing here is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from madrun.errors import UsageError
from madrun.results.rundir import ENDED, JOURNAL, PLAN, RECORD, STATUS, Unreadable, read_record, run_paths
from madrun.spec.record import Record
from madrun.spec.validation import nearest

LAST = "last"
_SHOWN = 5


def find(word: str, results: Path, others: Mapping[str, Path]) -> Path:
    """The run directory meant by an id, the unique beginning of one, a path, or `last`; `UsageError` where none is.

    `others` are runs that are known though they lie below other results directories, by id; those of `results` count
    first.
    """
    if not word:
        raise UsageError("RUN: found '', allowed: a run's id, the beginning of one, its directory, or last")
    known = {**others, **{path.name: path for path in run_paths(results)}}
    if word in known:
        return known[word]
    if word == LAST:
        return _last(results, others)
    place = Path(word).expanduser()
    if is_run(place):
        return place.resolve()
    begun = sorted(name for name in known if name.startswith(word))
    if len(begun) == 1:
        return known[begun[0]]
    if begun:
        more = f" and {len(begun) - _SHOWN} more" if len(begun) > _SHOWN else ""
        raise UsageError(f"RUN: {word!r} is the beginning of {len(begun)} runs: {', '.join(begun[-_SHOWN:])}{more}")
    raise UsageError(_unknown(word, results, sorted(known)))


def _last(results: Path, others: Mapping[str, Path]) -> Path:
    """The newest run of the results directory; without one the newest of the others."""
    newest = [*run_paths(results)][-1:] or [others[name] for name in sorted(others)[-1:]]
    if not newest:
        raise UsageError(f"RUN: last: {results / 'runs'} holds no run; run something first, or name --results")
    return newest[0]


def _unknown(word: str, results: Path, ids: list[str]) -> str:
    place = Path(word)
    if "/" in word and place.is_dir():
        return f"RUN: {word} is no run: it holds neither {PLAN} nor {RECORD}"
    if not ids:
        return f"RUN: {word!r} is unknown: {results / 'runs'} holds no run; name another directory with --results"
    near = nearest(word, ids)
    hint = f"the nearest: {', '.join(near)}" if near else f"the newest: {', '.join(ids[-3:])}"
    return f"RUN: {word!r} is no run below {results / 'runs'}, and none of this user's on this host; {hint}"


def is_run(path: Path) -> bool:
    """Whether this directory is that of a run."""
    return any((path / name).exists() for name in (PLAN, RECORD, JOURNAL)) or (path / "node-0").is_dir()


def node_folders(run: Path) -> Iterator[tuple[int, Path]]:
    """Rank and directory of each node that is here, in order."""
    found = [(path.name.removeprefix("node-"), path) for path in run.glob("node-*")]
    yield from sorted((int(rank), path) for rank, path in found if rank.isdecimal() and path.is_dir())


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A run directory as it is now. `record` is None while there is none; `ended` is what a node that has no record
    heard of the end; `status` is what node 0 last wrote of all nodes, by rank, and `heard_at` when. `launch`: the id of
    the launch whose run it is, empty for none.
    """

    path: Path
    card: str = ""
    runtime: str = ""
    nnodes: int = 1
    nproc_per_node: int = 1
    grace_s: float = 0.0
    hosts: dict[int, str] = field(default_factory=dict)
    master: str = ""
    image: str = ""
    owner: str = ""
    mirrors: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    launch: str = ""
    phases: tuple[tuple[str, float], ...] = ()
    status: dict[int, dict[str, Any]] = field(default_factory=dict)
    heard_at: float | None = None
    ended: dict[str, Any] | None = None
    record: Record | Unreadable | None = None

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def is_node_0s(self) -> bool:
        """Whether node 0 keeps this directory: it alone has the journal, and in the end the record."""
        return (self.path / JOURNAL).exists() or (self.path / "node-0").is_dir() or self.record is not None


def look(run: Path, *, with_record: bool = True) -> Look:
    """What the directory says; whatever is missing, cut or of another version is left out."""
    plan = _map(_json(run / PLAN))
    job, nodes = _map(plan.get("job")), [_map(node) for node in _list(plan.get("nodes"))]
    record = read_record(run) if with_record else None
    events = _journal(run / JOURNAL)
    begin = next((event for event in events if event.get("event") == "begin"), {})
    status, heard_at = _status(run / STATUS)
    container = next((_map(node.get("container")) for node in nodes if node.get("container")), {})
    mirrors = {
        str(_map(node.get("data_sources")).get(name, "")) for node in nodes for name in _map(node.get("mirrors"))
    }
    ended = next((_map(_json(folder / ENDED)) for _, folder in node_folders(run) if (folder / ENDED).exists()), None)
    return Look(
        path=run,
        card=str(job.get("card", "")),
        runtime=str(job.get("runtime", "")),
        nnodes=_number(job.get("nnodes"), 1),
        nproc_per_node=_number(job.get("nproc_per_node"), 1),
        grace_s=float(_number(job.get("grace_s"), 0)),
        hosts={_number(node.get("node_rank"), 0): str(node.get("hostname", "")) for node in nodes},
        master=str(nodes[0].get("master_addr", "")) if nodes else "",
        image=str(container.get("image", "")),
        owner=str(nodes[0].get("owner", "")) if nodes else "",
        mirrors=tuple(sorted(filter(None, mirrors))),
        command=tuple(map(str, _list(begin.get("command")))),
        launch=str(begin.get("launch") or ""),
        phases=tuple(
            (str(event.get("name", "")), _time(event)) for event in events if event.get("event") in ("phase", "begin")
        ),
        status=status,
        heard_at=heard_at,
        ended=ended,
        record=record,
    )


def _journal(file: Path) -> list[dict[str, Any]]:
    """Its whole lines; one that was being written when its writer died is left out."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [event for event in (_map(_parsed(line)) for line in lines) if event]


def _status(file: Path) -> tuple[dict[int, dict[str, Any]], float | None]:
    nodes = _map(_map(_json(file)).get("nodes"))
    try:
        heard_at = file.stat().st_mtime
    except OSError:
        return {}, None
    return {int(rank): _map(status) for rank, status in nodes.items() if rank.isdecimal()}, heard_at


def _time(event: dict[str, Any]) -> float:
    at = event.get("at")
    return float(at) if isinstance(at, (int, float)) and 0 <= at < 1e11 else 0.0


def _json(file: Path) -> Any:
    try:
        return _parsed(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object, otherwise: int) -> int:
    """Whole, and small enough to be true."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1 << 31
    return int(value) if fits and isinstance(value, (int, float)) else otherwise
