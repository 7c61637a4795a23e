"""Everything of madrun on this host: living agents, containers by label, and what dead agents have left behind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from madrun.errors import EngineError
from madrun.node.seeing.presence import LOCK, Resident, State, node_folder, read, registered, started_at, state_of

_MARK = b"MADRUN_RUN_ID="


@dataclass(frozen=True, slots=True, kw_only=True)
class Contained:
    """A container of a run, as its engine tells; `agent` is what has become of the agent that started it."""

    id: str
    name: str
    engine: str
    run_id: str
    rank: int
    card: str
    owner: int | None
    state: str
    created: float
    folder: Path | None
    agent: State

    @property
    def is_orphan(self) -> bool:
        """Whether nobody keeps it: its agent was killed, or ended without it."""
        return self.agent in ("dead", "gone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A process of a run of the process runtime whose agent is dead; `root` is the one that keeps the others."""

    run_id: str
    rank: int
    pid: int
    started: str
    command: str
    root: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What was found. `stale`: entries of dead agents by their file. `engines`: clients by name. `notes`: what could
    not be looked at.
    """

    agents: tuple[Resident, ...] = ()
    containers: tuple[Contained, ...] = ()
    leftovers: tuple[Leftover, ...] = ()
    stale: tuple[tuple[Resident, Path], ...] = ()
    engines: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def folders(self) -> dict[str, Path]:
        """Run directories that are known on this host, by run id."""
        found = {r.run_id: Path(r.folder).parent for r in (*(r for r, _ in self.stale), *self.agents) if r.folder}
        return {run_id: path for run_id, path in found.items() if path.is_dir()}

    def container_of(self, resident: Resident) -> Contained | None:
        """The agent's container, where an engine has it."""
        named = (resident.run_id, resident.rank)
        return next((found for found in self.containers if (found.run_id, found.rank) == named), None)


def take(registry: Path) -> Census:
    """Looks at the registry of this user, at every engine that answers, and at processes; changes nothing."""
    from docker.errors import DockerException

    entries = registered(registry)
    stale = [(resident, file) for resident, state, file in entries if state == "dead"]
    living = {(r.run_id, r.rank): r for r, state, _ in entries if state in ("alive", "unknown")}
    engines, notes = engines_here()
    dead = {(resident.run_id, resident.rank) for resident, _ in stale}
    containers: list[Contained] = []
    for name, client in engines.items():
        try:
            containers += _containers(name, client, dead)
        except (DockerException, OSError, ValueError) as error:  # a sick engine hides neither the other nor the agents
            notes.append(f"{name} did not list its containers: {_first_line(error)}")
    for resident in filter(None, (_keeper(container) for container in containers)):
        living.setdefault((resident.run_id, resident.rank), resident)
    agents = sorted(living.values(), key=lambda resident: (resident.run_id, resident.rank))
    return Census(
        agents=tuple(agents),
        containers=tuple(sorted(containers, key=lambda found: (found.run_id, found.rank))),
        leftovers=tuple(_leftovers([resident for resident, _ in stale], {run_id for run_id, _ in living})),
        stale=tuple(stale),
        engines=engines,
        notes=tuple(notes),
    )


def engines_here() -> tuple[dict[str, Any], list[str]]:
    """Clients of the engines that answer, by name; a note where none does."""
    from docker.errors import DockerException

    from madrun.probe.engine import connect

    found: dict[str, tuple[Any, str]] = {}
    refused = []
    for wanted in ("docker", "podman"):
        try:
            client, engine = connect("docker" if wanted == "docker" else "podman")
        except EngineError as error:
            refused.append(_first_line(error).partition(";")[0])
            continue
        except (DockerException, OSError, ValueError) as error:  # it answered, and then failed
            refused.append(f"{wanted}: {_first_line(error)}")
            continue
        if engine.host not in [host for _, host in found.values()]:
            found[engine.name] = (client, engine.host)
    notes = [] if found else [f"containers are not shown: {'; '.join(refused)}"]
    return {name: client for name, (client, _) in found.items()}, notes


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _containers(engine: str, client: Any, dead: set[tuple[str, int]]) -> list[Contained]:
    found = []
    for listed in client.containers(all=True, filters={"label": "madrun.run"}):
        labels = listed.get("Labels") or {}
        run_id, rank = str(labels.get("madrun.run", "")), _whole(labels.get("madrun.node"))
        folder = node_folder(listed)
        agent: State = state_of(folder / LOCK) if folder is not None else "unknown"
        if agent == "unknown" and (run_id, rank) in dead:
            agent = "dead"  # its directory was removed; the registry still knows
        found.append(
            Contained(
                id=str(listed["Id"]),
                name=str((listed.get("Names") or [listed["Id"]])[0]).lstrip("/"),
                engine=engine,
                run_id=run_id,
                rank=rank or 0,
                card=str(labels.get("madrun.card", "")),
                owner=_whole(labels.get("madrun.owner")),
                state=str(listed.get("State") or "").lower(),
                created=float(_whole(listed.get("Created")) or 0),
                folder=folder,
                agent=agent,
            )
        )
    return found


def _whole(value: object) -> int | None:
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def _keeper(container: Contained) -> Resident | None:
    """The living agent of a container, which may be another user's and not in our registry."""
    if container.folder is None or container.agent != "alive":
        return None
    resident = read(container.folder / LOCK)
    if resident is None or (resident.run_id, resident.rank) != (container.run_id, container.rank):
        return None
    return replace(resident, phase=resident.phase or container.state)  # its own word stands in its user's registry


def left_over(registry: Path) -> list[Leftover]:
    """Processes that dead agents of this user have left on this host; quick where there are no dead agents."""
    entries = registered(registry)
    dead = [resident for resident, state, _ in entries if state == "dead"]
    return _leftovers(dead, {resident.run_id for resident, state, _ in entries if state != "dead"})


def _leftovers(dead: list[Resident], living: set[str]) -> list[Leftover]:
    """Supervisors of dead agents by number and start; other processes by the run's id in their environment.

    The second only where no other node of the run lives on this host, for the id is the same on all nodes.
    """
    hosts = [resident for resident in dead if resident.runtime == "process" and resident.is_here]
    found = {
        resident.box_pid: _leftover(resident, resident.box_pid, resident.box_started, root=True)
        for resident in hosts
        if resident.box_pid and resident.box_started and started_at(resident.box_pid) == resident.box_started
    }
    marks = {_MARK + resident.run_id.encode(): resident for resident in hosts if resident.run_id not in living}
    for pid in _own_processes() if marks else ():
        resident = marks.get(_mark_of(pid))
        started = started_at(pid) if resident is not None else None
        if resident is not None and started is not None and pid not in found:
            found[pid] = _leftover(resident, pid, started, root=False)
    return list(found.values())


def _leftover(resident: Resident, pid: int, started: str, *, root: bool) -> Leftover:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        words = []
    command = " ".join(words).strip()[:80]
    return Leftover(run_id=resident.run_id, rank=resident.rank, pid=pid, started=started, command=command, root=root)


def _own_processes() -> list[int]:
    """Processes of this user, but for this one and those that led to it."""
    mine = set()
    pid = os.getpid()
    while pid > 1 and pid not in mine:
        mine.add(pid)
        pid = parent_of(pid)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry.stat().st_uid == os.getuid() and int(entry.name) not in mine:
                found.append(int(entry.name))
    return found


def parent_of(pid: int) -> int:
    """The process that a process belongs to; 0 where there is none any more."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _mark_of(pid: int) -> bytes:
    """The run's id in the environment that a process was started with."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
    if _MARK not in entries:
        return b""
    return next((entry for entry in entries.split(b"\0") if entry.startswith(_MARK)), b"")
