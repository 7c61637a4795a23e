"""`madrun logs`: what a run printed, or prints, byte for byte."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from madrun.backends import state as launchstate
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.tail import start_of_last
from madrun.cli.launches import find_launch, print_launch_log
from madrun.cli.which import find_run
from madrun.errors import UsageError
from madrun.node.seeing.going import going
from madrun.results.rundir import RECORD
from madrun.results.survey import Look, look, node_folders
from madrun.spec.record import Record

_TICK_S, _ASK_S = 0.1, 0.5
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which log of a run: that of a node, or that of a rank; None where nothing was asked for."""

    node: int | None
    rank: int | None
    lines: int | None
    follow: bool


def print_log(word: str, results: str, which: Which) -> int:
    """Writes the log to standard output; with `follow` until the run has ended. The word may mean a launch too."""
    if (launch := find_launch(word, results)) is not None:
        return _of_launch(launch, which)
    seen = look(find_run(word, results))
    _check(seen, which)
    goes_on = going(seen) == "running"

    def find() -> Path | None:
        return _file(seen, which)

    file = find()
    if file is None and not (goes_on and which.follow and _is_expected(seen, which)):
        raise UsageError(_missing(seen, which, goes_on))
    if file is not None and which.node is None and len(list(node_folders(seen.path))) > 1:
        sys.stderr.write(f"madrun: {_name(file)} of {seen.run_id}\n")
        sys.stderr.flush()
    with closing(_Reader(find)) as reader, suppress(BrokenPipeError):  # whoever read has had enough
        if which.lines is not None and file is not None:
            reader.skip_to(file, which.lines)
        reader.copy()
        if which.follow and goes_on:
            _follow(seen, reader)
    return 0


def _of_launch(launch: LaunchFolder, which: Which) -> int:
    if which.rank is not None:
        raise UsageError(f"--rank: found {which.rank} of a launch, which has nodes; name a run of it (madrun status)")
    asked = launchstate.Which(node=which.node or 0, lines=which.lines, follow=which.follow)
    return print_launch_log(launch, asked)


def _name(file: Path) -> str:
    return "/".join(file.parts[-2:] if file.name == "console.log" else file.parts[-3:])


def _check(seen: Look, which: Which) -> None:
    nnodes = max([seen.nnodes, *(rank + 1 for rank, _ in node_folders(seen.path))])  # its plan may be cut
    if which.node is not None and not 0 <= which.node < nnodes:
        raise UsageError(f"--node: found {which.node}, allowed: 0 to {nnodes - 1}, the nodes of {seen.run_id}")
    world = seen.nnodes * seen.nproc_per_node
    if which.rank is not None and not 0 <= which.rank < world:
        raise UsageError(f"--rank: found {which.rank}, allowed: 0 to {world - 1}, the ranks of {seen.run_id}")


def _node(seen: Look, which: Which) -> int:
    """The node that was asked for, else that of the rank, else the culprit's, else node 0 or the one that is here."""
    if which.node is not None:
        return which.node
    if which.rank is not None:
        return which.rank // max(1, seen.nproc_per_node)
    culprit = seen.record.culprit if isinstance(seen.record, Record) else None
    if culprit is not None and (seen.path / f"node-{culprit.node}" / "console.log").exists():
        return culprit.node
    here = [rank for rank, folder in node_folders(seen.path) if (folder / "console.log").exists()]
    return 0 if 0 in here or not here or seen.is_node_0s else here[0]


def _file(seen: Look, which: Which) -> Path | None:
    """The log as it lies now; None where it does not."""
    folder = seen.path / f"node-{_node(seen, which)}"
    if which.rank is None:
        places = [folder / "console.log"]
    else:
        others = [path for _, path in node_folders(seen.path)] if which.node is None else []
        name = f"rank-{which.rank}.log"
        places = [home / part / name for home in (folder, *others) for part in ("ranks", "box/ranks")]
    return next((place for place in places if place.is_file()), None)


def _is_expected(seen: Look, which: Which) -> bool:
    """Whether the log of a run that goes on may still be made here."""
    return (seen.path / f"node-{_node(seen, which)}").is_dir()


def _missing(seen: Look, which: Which, goes_on: bool) -> str:
    record = seen.record
    if isinstance(record, Record) and not record.plan_hash:
        return f"{seen.run_id} has no log, for it was not run: {record.status}: {'; '.join(record.reasons)}"
    node = _node(seen, which)
    what = f"node {node}" if which.rank is None else f"rank {which.rank} (node {node})"
    folder = seen.path / f"node-{node}"
    if folder.is_dir():
        kept = sorted(path.name for path in folder.glob("ranks/rank-*.log"))
        if which.rank is None:
            return f"{what} of {seen.run_id} has no console log: its script did not come to start; see {folder}"
        have = f"it has {', '.join(kept[:5])}" if kept else "its runner keeps none, or its script did not come to start"
        return (
            f"--rank: {what} of {seen.run_id} has no log of its own: {have}; without --rank its node's console is shown"
        )
    status = seen.status.get(node, {})
    host, place = status.get("host") or seen.hosts.get(node), status.get("folder")
    have = ", ".join(str(rank) for rank, _ in node_folders(seen.path)) or "none"
    if goes_on and host and place:
        return f"{what} of {seen.run_id} is not here yet: it lies at {host}:{place}; here is node {have}"
    where = f" on {host}" if host else ""
    return f"{what} of {seen.run_id} is not here: it is{where or ' elsewhere'}; {seen.path} holds node {have}"


class _Reader:
    """Copies a file to standard output as it grows, also where another has taken its place or it was cut."""

    def __init__(self, find: Callable[[], Path | None]) -> None:
        self._find = find
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def skip_to(self, path: Path, lines: int) -> None:
        """What is copied begins with the last lines."""
        self._file, self._path = path.open("rb"), path
        self._file.seek(start_of_last(self._file, lines))

    def close(self) -> None:
        """Gives the file back."""
        if self._file is not None:
            self._file.close()

    def copy(self) -> None:
        """Everything that has come since the last call."""
        self._rest()
        path = self._find()
        if path is None or (self._file is not None and self._is_same(path)):
            return
        self.close()
        self._file, self._path = path.open("rb"), path
        self._rest()

    def _is_same(self, path: Path) -> bool:
        """Whether what is open is what lies there; a log that was brought out of its box may be a copy."""
        assert self._file is not None
        if self._path != path and self._path is not None and self._path.parent.parent.name == "box":
            return True
        try:
            there, mine = path.stat(), os.fstat(self._file.fileno())
        except OSError:
            return True
        if (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino):
            return False
        if there.st_size < self._file.tell():
            self._file.seek(0)
            self._rest()
        return True

    def _rest(self) -> None:
        while self._file is not None and (chunk := self._file.read(_CHUNK)):
            _write(chunk)


def _write(chunk: bytes) -> None:
    """Past Python's own buffer: nothing is left in it when the reader goes or the user has had enough."""
    view = memoryview(chunk)
    while view:
        view = view[os.write(1, view) :]


def _follow(seen: Look, reader: _Reader) -> None:
    asked = time.monotonic()
    gone = select.poll()
    gone.register(1, 0)  # of a pipe without a reader this tells all the same
    while True:
        reader.copy()
        if time.monotonic() - asked > _ASK_S:
            asked = time.monotonic()
            if _has_ended(seen.path):
                reader.copy()
                return
        if gone.poll(_TICK_S * 1000):
            return  # nobody reads any more, as after `| head`: whoever waits for the pipe's end is not kept waiting


def _has_ended(run: Path) -> bool:
    """A look at names alone; what the record holds is not asked for."""
    if (run / RECORD).exists():
        return True
    return going(look(run, with_record=False)) != "running"
