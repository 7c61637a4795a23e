"""`madrun status`, `logs`, `stop` and `ps` of launches: one word means a launch where it is no run."""

from __future__ import annotations

import os
import select
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.backends.launchfolder import ATTENDANT, LaunchFolder
from madrun.backends.state import LaunchState, Which
from madrun.backends.table import backend_of
from madrun.cli.broughthome import is_run_of
from madrun.cli.signals import catch_signals
from madrun.cli.tables import columns, many, some
from madrun.cli.terminal import Terminal
from madrun.cli.verdict import quoted
from madrun.cli.which import attendants
from madrun.errors import ExitCode, UsageError
from madrun.node.seeing.ending import lives, terminate
from madrun.node.seeing.going import going
from madrun.node.seeing.presence import Resident, read, registered, state_of
from madrun.node.task import Interrupt
from madrun.results.rundir import run_paths
from madrun.results.survey import LAST, look
from madrun.spec.codec import to_json
from madrun.spec.launch import FILE, FOLDERS, Launch
from madrun.spec.record import Record
from madrun.units import format_duration

_MOST_NODES = 16  # a table; of more nodes only how many are in which state
_TICK_S, _LONGEST_S = 0.1, 60.0
_STATES = {"preparing": "PREPARING", "pending": "PENDING", "running": "RUNNING", "lost": "LOST"}


def find_launch(word: str, results: str) -> LaunchFolder | None:
    """The launch that the word means: its folder, its id, the only beginning of one, or `last` where no run is newer.

    None where it can be none, or is the id or the beginning of a run too.
    """
    root = Path(results).absolute()
    place = Path(word).expanduser()
    if word and _is_launch(place):
        return LaunchFolder(place.resolve())
    known = known_launches(root)
    if word in known:
        return LaunchFolder(known[word])
    runs = [path.name for path in run_paths(root)]
    if word == LAST:
        newest = max(known, default="")
        return LaunchFolder(known[newest]) if newest and newest > max(runs, default="") else None
    begun = [name for name in known if word and name.startswith(word)]
    if len(begun) != 1 or any(name.startswith(word) for name in runs):
        return None
    return LaunchFolder(known[begun[0]])


def known_launches(root: Path) -> dict[str, Path]:
    """The launches below these results, and those that are attended on this host, by id."""
    folders = [Path(resident.folder) for resident, _, _ in registered(attendants())]
    folders += sorted((root / FOLDERS).glob("*"))
    return {path.name: path for path in folders if _is_launch(path)}


def _is_launch(path: Path) -> bool:
    """Not so for that of another user, which nobody else may read."""
    return os.access(path / FILE, os.R_OK)


def launch_of_run(word: str, results: str) -> LaunchFolder | None:
    """The launch of which a run here is, where that launch lies here too."""
    root = Path(results).absolute()
    for path in run_paths(root):
        if path.name == word:
            folder = root / FOLDERS / look(path, with_record=False).launch
            return LaunchFolder(folder) if _is_launch(folder) else None
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A launch as it is now."""

    folder: LaunchFolder
    launch: Launch
    state: LaunchState
    runs: tuple[tuple[str, str], ...]

    @property
    def exit_code(self) -> int:
        """What `madrun status` ends with."""
        bad = self.state.phase == "lost" or bool(self.state.exit_code)
        return int(ExitCode.RUN_FAILED if bad else ExitCode.OK)


def _look(folder: LaunchFolder) -> _Seen:
    launch = folder.launch()
    return _Seen(folder=folder, launch=launch, state=launch_state(folder, launch), runs=tuple(_runs(launch)))


def launch_state(folder: LaunchFolder, launch: Launch) -> LaunchState:
    """How far it has come, as its backend sees it."""
    return backend_of(launch.backend).state(folder)


def _runs(launch: Launch) -> Iterator[tuple[str, str]]:
    """The runs of the launch that lie here, and what has become of each."""
    for path in run_paths(Path(launch.results)):
        if is_run_of(launch, path):
            seen = look(path)
            yield seen.run_id, seen.record.status if isinstance(seen.record, Record) else going(seen)


def print_launch(folder: LaunchFolder, as_json: bool) -> int:
    """Prints how far it has come; 0 while it goes on and where it ended well, else 3."""
    seen = _look(folder)
    if as_json:
        sys.stdout.write(to_json(_document(seen)))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(seen)))
    return seen.exit_code


def _lines(seen: _Seen) -> list[str]:
    launch, state = seen.launch, seen.state
    word = _STATES.get(state.phase) or ("SUCCESS" if state.exit_code == 0 else "FAILURE")
    lines = [f"{word} {launch.id}  {many(launch.nnodes, 'node')} by {launch.backend}  {', '.join(launch.cards)}"]
    if state.reason:
        lines.append(f"  {state.reason}")
    rows = [(str(node.rank), node.host, node.state) for node in state.nodes]
    if len(rows) <= _MOST_NODES:
        lines += [f"  {line}" for line in columns(("NODE", "HOST", "STATE"), rows)] if rows else []
    else:
        lines += _grouped(state)
    lines += [f"  run {run_id}: {what}" for run_id, what in seen.runs]
    lines += [f"  not here: {place}" for place in state.left]
    if state.left and not seen.runs and state.phase in ("lost", "ended"):
        words = ("scp", "-pr", f"{state.left[0]}/runs/*", os.path.relpath(Path(launch.results) / "runs"))
        lines.append(f"  to bring it here: {shlex.join(words)}")
    lines += [f"  attended by pid {one.pid} on {one.host}" for one in (attendant_of(seen.folder),) if one]
    if state.phase in ("lost", "ended") and seen.exit_code:
        lines += [] if seen.runs else [f"  what it printed: madrun logs {launch.id}"]
        lines.append(f"  again: {quoted(launch.command)}")
    return [*lines, f"  {os.path.relpath(seen.folder.path)}"]


def _grouped(state: LaunchState) -> list[str]:
    hosts: dict[str, list[str]] = {}
    for node in state.nodes:
        hosts.setdefault(node.state, []).append(node.host)
    return [f"  {len(names)} {word}: {some(names, _MOST_NODES)}" for word, names in hosts.items()]


def _document(seen: _Seen) -> dict[str, Any]:
    """What `--json` prints."""
    launch, state = seen.launch, seen.state
    return {
        "launch_id": launch.id,
        "path": str(seen.folder.path),
        "backend": launch.backend,
        "phase": state.phase,
        "reason": state.reason,
        "exit_code": state.exit_code,
        "left": list(state.left),
        "nnodes": launch.nnodes,
        "cards": list(launch.cards),
        "nodes": [{"node": node.rank, "host": node.host, "state": node.state} for node in state.nodes],
        "runs": [{"run_id": run_id, "state": what} for run_id, what in seen.runs],
        "command": list(launch.command),
    }


def print_launch_log(folder: LaunchFolder, which: Which) -> int:
    """Writes what a node of it printed to standard output."""
    interrupt = catch_signals()
    threading.Thread(target=_await_reader, args=(interrupt,), daemon=True).start()
    return backend_of(folder.launch().backend).logs(folder, Terminal(interrupt), which)


def _await_reader(interrupt: Interrupt) -> None:
    """Ends it when nobody reads any more, as after `| head`: whoever waits for the pipe's end is not kept waiting."""
    gone = select.poll()
    gone.register(1, 0)
    if gone.poll():
        interrupt.set("nobody reads it any more")


def attendant_of(folder: LaunchFolder) -> Resident | None:
    """Who attends the launch, on this host or on another; None where nobody does."""
    lock = folder.path / ATTENDANT
    return read(lock) if state_of(lock) in ("alive", "unknown", "elsewhere") else None


def stop_launch(folder: LaunchFolder, patience: float | None) -> int:
    """Ends a launch on all its nodes: by its attendant, else by its backend. 3 where something is still there.

    After `patience` seconds its attendant is asked once more, as by a second Ctrl-C.
    """
    launch, who = folder.launch(), attendant_of(folder)
    state = launch_state(folder, launch)
    if state.phase == "ended":
        sys.stderr.write(f"madrun: {launch.id} has ended: {state.reason}\n")
        return int(ExitCode.USAGE)
    if who is not None and who.is_here:
        return end_attendant(who, patience)
    if who is not None and launch.backend == "ssh":
        raise UsageError(
            f"stop: {launch.id} is attended on {who.host} (pid {who.pid}); type madrun stop {launch.id} there"
        )
    return backend_of(launch.backend).stop(folder, Terminal(catch_signals()))


def end_attendant(who: Resident, patience: float | None) -> int:
    """Asks the attendant of a launch on this host to end it, and waits for that."""
    if who.uid != os.getuid() and os.getuid() != 0:
        raise UsageError(f"stop: {who.run_id} belongs to another user (uid {who.uid}); they, or root, can stop it")
    terminate(who)
    sys.stderr.write(f"madrun: asked the attendant of {who.run_id} (pid {who.pid}) to end it on all its nodes\n")
    sys.stderr.flush()
    began = time.monotonic()
    while lives(who):
        waited = time.monotonic() - began
        if patience is not None and waited > patience:
            patience = None
            terminate(who)
        if waited > _LONGEST_S:
            sys.stderr.write(
                f"madrun: {who.run_id} has not ended after {format_duration(waited)}; kill -9 {who.pid} ends it "
                "without bringing anything home\n"
            )
            return int(ExitCode.RUN_FAILED)
        time.sleep(_TICK_S)
    sys.stdout.write(f"ended: {who.run_id}\n")
    return 0


def attended() -> list[Resident]:
    """The launches of this user that are attended on this host."""
    return [resident for resident, state, _ in registered(attendants()) if state == "alive"]
