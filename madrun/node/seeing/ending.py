"""Ends what a census has found, by number and start or by the engine's id; never by a name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from madrun.node.seeing.census import Census, Contained, Leftover, left_over, parent_of
from madrun.node.seeing.presence import Resident, registered, started_at, state_of

_BOUND_S, _TICK_S = 5.0, 0.02


def send(pid: int, started: str, number: int) -> bool:
    """Gives a signal to the process that began then; False where that one has gone, or is somebody else's.

    The handle is taken first: a number that is given out again in between reaches nobody.
    """
    try:
        handle = os.pidfd_open(pid)
    except (OSError, OverflowError):
        return False
    try:
        if started_at(pid) != started:
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def terminate(resident: Resident) -> bool:
    """Asks a living agent of this host to end its run in order."""
    return resident.is_here and send(resident.pid, resident.started, signal.SIGTERM)


def lives(resident: Resident) -> bool:
    """Whether the agent's process is still there."""
    return resident.is_here and started_at(resident.pid) == resident.started


def remove(census: Census, container: Contained) -> str:
    """Removes a container, whatever its state; why not where the engine refuses."""
    from docker.errors import APIError, NotFound
    from requests.exceptions import RequestException

    client: Any = census.engines[container.engine]
    try:
        client.remove_container(container.id, force=True, v=True)
    except NotFound:
        return ""
    except APIError as error:
        text = str(error.explanation or error)
        return "" if "already in progress" in text else text
    except RequestException as error:
        return str(error)
    return ""


def stands(census: Census, container: Contained) -> bool:
    """Whether the engine still has the container."""
    from docker.errors import APIError
    from requests.exceptions import RequestException

    try:
        return bool(census.engines[container.engine].containers(all=True, filters={"id": container.id}))
    except (APIError, RequestException):
        return True


def end_leftovers(leftovers: Iterable[Leftover]) -> list[Leftover]:
    """Kills the processes that a dead agent left, and what they started; those that are still there afterwards.

    Children first: while their supervisor stands no child can leave the family that it heads.
    """
    left = list(leftovers)
    if not left:
        return []  # a look at every process of a large host is no small thing
    deadline = time.monotonic() + _BOUND_S
    roots = [leftover for leftover in left if leftover.root]
    while roots and time.monotonic() < deadline:
        family = _descendants({root.pid for root in roots if started_at(root.pid) == root.started})
        for pid, started in family:
            send(pid, started, signal.SIGKILL)
        if not family:
            break
        time.sleep(_TICK_S)
    while left and time.monotonic() < deadline + 1:
        for one in left:
            send(one.pid, one.started, signal.SIGKILL)
        time.sleep(_TICK_S)
        left = [one for one in left if started_at(one.pid) == one.started]
    return left


def sweep_processes(registry: Path) -> list[str]:
    """Ends what dead agents of this user have left running on this host, which would be measured with the next run."""
    found = left_over(registry)
    still = end_leftovers(found)
    # of those that have neither a run's directory nor a process left there is nothing more to tell
    gone = [
        (who, file)
        for who, state, file in registered(registry)
        if state == "dead" and (who.waits or not Path(who.folder).is_dir())
    ]
    forget((who, file) for who, file in gone if who.run_id not in {one.run_id for one in still})
    return [f"process {one.pid} ({one.command}) of {one.run_id}" for one in found if one not in still]


def _descendants(roots: set[int]) -> list[tuple[int, str]]:
    """Living processes below these, each with its start."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(ValueError):
            parents[int(entry.name)] = parent_of(int(entry.name))
    found: list[tuple[int, str]] = []
    level = roots
    while level:
        level = {pid for pid, parent in parents.items() if parent in level} - roots
        found += [(pid, started) for pid in level if (started := started_at(pid)) is not None]
    return found


def forget(entries: Iterable[tuple[Resident, Path]]) -> None:
    """Takes entries of dead agents out of the registry; one that has come to life is left."""
    for _, file in entries:
        if state_of(file) == "dead":
            file.unlink(missing_ok=True)
