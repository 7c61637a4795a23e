"""Who lives here: an agent holds a lock on files that say who it is, and the kernel drops the lock with the process.

One file lies in the node's directory of the run, one in the user's own registry of agents.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

from madrun.locks import is_held
from madrun.spec.codec import to_json
from madrun.spec.plan import Plan

LOCK, REGISTRY = "agent.lock", "agents"
State = Literal["alive", "dead", "gone", "elsewhere", "unknown"]
_LONGEST = 64 << 10
_CENTURY_S = 3.2e9
_STUCK = ("created", "paused")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """An agent as its file tells of it. `started` is the kernel's own time of the process's start, so that a number
    that was given out again is no match; `boot` and `pids` say in which life of which host the number counts.

    `folder` is the node's directory, empty while the nodes are waited for. `box_pid` is the driver's, or that of its
    supervisor.
    """

    run_id: str
    card: str
    rank: int
    nnodes: int
    pid: int
    started: str
    boot: str
    pids: str
    host: str
    uid: int
    runtime: str
    since: float
    folder: str = ""
    container: str = ""
    phase: str = ""
    phase_at: float = 0.0
    grace_s: float = 0.0
    box_pid: int | None = None
    box_started: str = ""

    @property
    def waits(self) -> bool:
        """Whether this is a madrun that waits for its nodes: it has no run yet."""
        return not self.folder

    @property
    def is_here(self) -> bool:
        """Whether its process numbers are those that this process sees."""
        return (self.boot, self.pids) == _here()

    @property
    def is_of_this_host(self) -> bool:
        """Whether it lived on this host, perhaps before the last boot."""
        return self.boot == _here()[0] or self.host == socket.gethostname()


class Presence:
    """Holds the files of one living agent, from construction to `leave`."""

    def __init__(self, resident: Resident, lock: Path | None, entry: Path | None) -> None:
        self.resident = resident
        self._entry, self._files = entry, [file for file in (lock, entry) if file is not None]
        self._guard = threading.Lock()
        self._held: list[IO[str]] = []
        for file in self._files:
            self._write(file)

    def say(self, **changes: Any) -> None:
        """Tells what has changed, in the registry."""
        with self._guard:
            self.resident = replace(self.resident, **changes)
            if self._entry is not None:
                self._write(self._entry)

    def leave(self) -> None:
        """The agent ends in order: its files go."""
        with self._guard:
            for file in self._files:
                with suppress(OSError):
                    file.unlink()
            for held in self._held:
                held.close()

    def _write(self, file: Path) -> None:
        """A new file takes the old one's place with its lock held; the old stays locked for whoever has it open.

        What cannot be written or locked is no reason to end a run: then nobody can tell, and everybody leaves alone.
        """
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            handle = fresh.open("w", encoding="utf-8", errors="replace")
            self._held.append(handle)
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(OSError):
                handle.write(to_json(self.resident))
                handle.flush()
            fresh.replace(file)


@contextmanager
def alive(folder: Path, resident: Resident | None = None, registry: Path | None = None) -> Iterator[Presence]:
    """Says that the agent of this node's directory lives, until the body ends or the process does."""
    resident = resident or myself(run_id=folder.parent.name, folder=str(folder))
    entry = registry / f"{resident.run_id}-n{resident.rank}.json" if registry else None
    presence = Presence(resident, folder / LOCK, entry)
    try:
        yield presence
    finally:
        presence.leave()


@contextmanager
def waiting(plan: Plan, registry: Path) -> Iterator[None]:
    """Says that a madrun waits for its nodes, while the body does."""
    job, node = plan.job, plan.node
    known = {"card": job.card, "rank": node.node_rank, "nnodes": job.nnodes, "runtime": job.runtime}
    resident = myself(run_id=f"waiting-{job.card}-{os.getpid()}", phase="join", phase_at=time.time(), **known)
    presence = Presence(resident, None, registry / f"{resident.run_id}.json")
    try:
        yield
    finally:
        presence.leave()


def myself(run_id: str, **known: Any) -> Resident:
    """This process as a resident."""
    boot, pids = _here()
    own = {"pid": os.getpid(), "started": started_at(os.getpid()) or "", "boot": boot, "pids": pids}
    own |= {"host": socket.gethostname(), "uid": os.getuid(), "since": time.time()}
    unsaid: dict[str, Any] = {"card": "", "rank": 0, "nnodes": 1, "runtime": ""}
    return Resident(run_id=run_id, **(unsaid | own | known))


def started_at(pid: int) -> str | None:
    """When this process began, as the kernel counts; None where there is none, or only what is left of one."""
    try:
        values = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if values[0] in (b"Z", b"X") else values[19].decode()
    except (OSError, IndexError, ValueError):
        return None


@cache
def _here() -> tuple[str, str]:
    """This boot, and the name space of process numbers: neither changes while a process lives."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot, str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "", ""


def read(file: Path) -> Resident | None:
    """Who a lock file or an entry of the registry speaks of; None where it holds no such thing."""
    try:
        with file.open("rb") as source:
            data = json.loads(source.read(_LONGEST))
        return _resident(data)
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _resident(data: Any) -> Resident | None:
    """The resident of plain data; checked by hand, so that a look at a lock imports nothing."""
    if not isinstance(data, dict):
        return None
    known = {field.name: str(field.type) for field in fields(Resident)}
    given = {name: value for name, value in data.items() if name in known}
    if not all(_fits(value, known[name]) for name, value in given.items()):
        return None
    return Resident(**given)


def _fits(value: object, kind: str) -> bool:
    if kind == "str":
        return isinstance(value, str) and value.isprintable()
    if kind == "float":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _CENTURY_S
    if value is None:
        return kind == "int | None"
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32


def state_of(file: Path) -> State:
    """What has become of the agent behind a lock file: `dead` was killed, `gone` took its file along in order.

    `elsewhere`: its lock is another host's, and may not be seen from here. `unknown` counts as living.
    """
    held = is_held(file)
    if held:
        return "alive"
    try:
        file.lstat()
    except FileNotFoundError:
        return "gone" if file.parent.is_dir() else "unknown"
    except OSError:
        return "unknown"
    resident = read(file)
    if resident is not None and not resident.is_of_this_host:
        return "elsewhere"
    if held is None:
        return _by_process(resident)
    return "dead"


def _by_process(resident: Resident | None) -> State:
    """What the process itself tells, where there are no locks."""
    if resident is None or not resident.is_here:
        return "unknown"
    return "alive" if started_at(resident.pid) == resident.started else "dead"


def registered(registry: Path) -> list[tuple[Resident, State, Path]]:
    """The agents of this user on this host by their entries; entries that hold nothing readable are left out."""
    found: list[tuple[Resident, State, Path]] = []
    with suppress(OSError):
        for file in sorted(registry.glob("*.json")):
            resident = read(file)
            if resident is None or not resident.is_of_this_host:
                continue
            state = state_of(file)
            if state != "gone":
                found.append((resident, state, file))
    return found


def sweep(client: Any, uid: int) -> list[str]:
    """Removes this user's stuck containers whose agent is dead; their names.

    Created or paused when their agent was killed, these have no lease that ends them.
    """
    from docker.errors import APIError

    removed = []
    filters = {"label": [f"madrun.owner={uid}"], "status": list(_STUCK)}
    for container in client.containers(all=True, filters=filters):
        folder = node_folder(container)
        if folder is None or state_of(folder / LOCK) not in ("dead", "gone"):
            continue
        with suppress(APIError):  # another madrun may sweep at the same time
            client.remove_container(container["Id"], force=True, v=True)
            removed.append(str(container["Names"][0]).lstrip("/"))
    return removed


def node_folder(container: dict[str, Any]) -> Path | None:
    """The node's directory of a container that the engine lists, by the mount of its box."""
    boxes = [mount["Source"] for mount in container.get("Mounts") or [] if mount.get("Destination") == "/madrun"]
    return Path(boxes[0]).parent if boxes else None
