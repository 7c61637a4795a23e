"""ssh: a connection to every node holds the lease of what runs there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from madrun.backends import aside
from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.look import PREPARED, log_of, show_log, state_of
from madrun.backends.ssh.carrying import Place, bring_home, clear, deliver, forget_private
from madrun.backends.ssh.connection import Connections
from madrun.backends.ssh.leftbehind import are_noted, note_cleared, note_places, results_of
from madrun.backends.ssh.settings import SshSettings, read
from madrun.backends.ssh.start import by_hand, check_words, node_command, starts
from madrun.backends.ssh.visit import choose_master, visit
from madrun.backends.ssh.watch import Outcome, Running, Watch
from madrun.backends.state import LaunchState, Which
from madrun.errors import ExitCode, HostsError, MadrunError, UsageError
from madrun.spec.launch import BAD_HOSTS, BROUGHT_HOME, PROGRAM, REPOSITORY, RESULTS, SHOWN, Launch, NodeStart

__all__ = ["conduct", "logs", "read", "render", "state", "stop"]


def render(launch: Launch, settings: SshSettings) -> dict[str, str]:
    """The start of all nodes as a script."""
    master = launch.master_addr or settings.master_addr or settings.nodes[0].bare
    return {"ssh.sh": by_hand(launch, settings.names, master)}


def conduct(folder: LaunchFolder, head: Head, detach: bool) -> int:
    """Visits the hosts, brings them what they lack, starts all nodes and holds their leases until all have ended.

    The exit code is node 0's; 3 where node 0 was lost, 130 where a signal came. Errors of the visit are raised.
    """
    if detach:
        return aside.detach(folder, head)
    launch = folder.launch()
    settings, _ = read(launch.settings, launch.nnodes)
    outcome = Outcome(ExitCode.INTERNAL, "a defect of madrun")
    try:
        with Connections(settings) as connections:
            outcome = _conduct(folder, head, launch, (settings, connections))
    except MadrunError as error:
        outcome = Outcome(error.exit_code, str(error))
        if isinstance(error, HostsError):
            folder.journal(BAD_HOSTS, hosts=error.hosts)
        if not head.stop.is_set():
            raise
        outcome = Outcome(ExitCode.INTERRUPTED, head.reason)  # whoever was stopped says so in one way or another
    finally:
        if head.stop.is_set() and not folder.has(aside.STARTED):
            head.say(f"{head.reason}; nothing was started")
        folder.forget_private()
        folder.journal("ended", exit_code=int(outcome.code), why=outcome.why)
    return int(outcome.code)


def _conduct(folder: LaunchFolder, head: Head, launch: Launch, by: tuple[SshSettings, Connections]) -> Outcome:
    settings, connections = by
    seen = visit(connections, settings, launch, head.stop)
    if head.stop.is_set():
        return Outcome(ExitCode.INTERRUPTED, head.reason)
    check_words(launch, seen[0].shared)
    master = choose_master(seen, launch, settings)
    places = deliver(connections, seen, folder, launch, settings, head)
    try:
        lies = results_of(places[0])
        note_places(folder, places)
        folder.journal(PREPARED, master=master, folder=places[0].folder, results=lies)
        if head.stop.is_set():
            return Outcome(ExitCode.INTERRUPTED, head.reason)
        running = [
            _start(connections, folder, start, place, os.path.relpath(launch.results))
            for start, place in zip(starts(settings.names, master), places, strict=True)
        ]
        folder.journal(aside.STARTED, hosts=list(settings.names))
        outcome = Watch(folder, running, head, lambda: forget_private(connections, places)).run()
        _bring_home(connections, places, folder, head)
        return outcome
    finally:
        left = clear(connections, places)
        note_cleared(folder, places, left)
        if left:
            head.say(f"not brought home, and not removed: {', '.join(left)}")


def _start(connections: Connections, folder: LaunchFolder, start: NodeStart, place: Place, shown: str) -> Running:
    """Its output goes to a file of the folder; that of node 0 comes here first, to be shown."""
    more = {PROGRAM: place.program, REPOSITORY: place.repository, RESULTS: place.results}
    more |= {SHOWN: shown if place.results else ""}
    log = log_of(folder, start.rank)
    with log.open("wb") as file:
        out = subprocess.PIPE if start.rank == 0 else file
        err = subprocess.PIPE if start.rank == 0 else subprocess.STDOUT
        child = connections.start(start.host, node_command(start, place.folder, more), stdout=out, stderr=err)
    return Running(start, child, log)


def _bring_home(connections: Connections, places: Sequence[Place], folder: LaunchFolder, head: Head) -> None:
    """Run directories that lie on node 0's own disk; what does not come is told with its place."""
    place = places[0]
    try:
        if place.results and (lost := connections.open([place.host])):
            raise UsageError(lost[place.host])
        runs = bring_home(connections, place, folder, folder.launch())
    except (MadrunError, OSError) as error:
        later = f"madrun status {folder.path.name} brings them"
        head.say(f"the results are not brought home: {error}; they lie in {place.host}:{place.results}, and {later}")
        return
    if runs:
        folder.journal(BROUGHT_HOME, runs=list(runs))
        head.say(f"brought home from {place.host}: {', '.join(runs)}")


def state(folder: LaunchFolder) -> LaunchState:
    """What the folder says: its attendant writes it as it comes."""
    return state_of(folder)


def logs(folder: LaunchFolder, head: Head, which: Which) -> int:
    """Shows what a node printed."""
    return show_log(folder, head, which)


def stop(folder: LaunchFolder, head: Head) -> int:
    """Of a launch that nobody attends any more nothing runs: the leases ended with their holder."""
    more = f"; madrun status {folder.path.name} brings home what lies there" if are_noted(folder) else ""
    head.say(f"{folder.path.name}: nobody attends it any more; what ran on its nodes ended with that{more}")
    return 0
