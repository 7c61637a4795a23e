"""Proof that nodes see the same data: before anything is built or started, and again when mirrors are made."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from madrun.data import sentinel
from madrun.node.channel.assembly import ranges
from madrun.node.channel.link import Link
from madrun.node.joining.supply import Supply
from madrun.node.task import Reporter, Task
from madrun.probe.mounts import filesystem_of
from madrun.spec.codec import to_plain
from madrun.spec.plan import BOX, Mount, NodePlan
from madrun.units import format_duration

_NEWS_EVERY_S = 10.0
_DATA_S, _MOUNTS_S = 2.0, 2.0  # for all samples together
_VISIBLE_S, _BETWEEN_S = 5.0, 0.2  # a network file system may show a new directory late
_SYSTEM = frozenset({"/", "/home", "/media", "/mnt", "/opt", "/srv", "/tmp"})
_SYSTEM_TREES = tuple(f"/{name}" for name in ("bin", "boot", "dev", "etc", "lib", "lib64", "proc", "root")) + tuple(
    f"/{name}" for name in ("run", "sbin", "sys", "usr", "var")
)


class Sharing:
    """The data of one run as this node and the others see them; `notes` are for the record."""

    def __init__(self, task: Task, node: NodePlan, link: Link, of: tuple[str, Supply]) -> None:
        """`of`: the run's id, and what fetches the data of this node."""
        self.notes: tuple[str, ...] = ()
        self._task, self._node, self._link, (self._run, self._supply) = task, node, link, of
        self._alone = task.plan.job.nnodes == 1
        self._fill: dict[str, list[int]] = {name: [node.node_rank] for name in node.fetches}

    def prove(self) -> None:
        """Returns when data, mirrors and mounts are seen alike by all nodes; `Aborted` with what differs else."""
        if self._alone:
            return
        rank, task = self._node.node_rank, self._task
        places = self._places()
        try:
            left = {key: sentinel.leave(path, self._run + _word(key), rank) for key, path in places.items()}
            tokens = {key: token for key, (token, _) in left.items()}
            first, everyone = self._link.meet(task.stage("sentinels"), tokens)
            others = {int(key): found for key, found in everyone.items() if key.isdigit()} if rank == 0 else {0: first}
            seen = {
                key: sentinel.see(path, self._run + _word(key), {r: (t or {}).get(key, "") for r, t in others.items()})
                for key, path in places.items()
            }
            data, _ = self._link.meet(task.stage("shared"), self._proof(left, seen))
        finally:
            for key, path in places.items():
                sentinel.take_back(path, self._run + _word(key), rank)
        self._fill = data["fill"]
        self._note(data)

    def provide(self, check: Callable[[], None], reporter: Reporter) -> None:
        """Makes the mirrors that this node has to make, and returns when every node sees all of them."""
        rank = self._node.node_rank
        for name in [name for name, ranks in self._fill.items() if rank in ranks]:
            self._supply.fetch(name, check, reporter)
        if not self._alone and self._fill:
            self._meet(check, reporter)
        self._supply.look()

    def _meet(self, check: Callable[[], None], reporter: Reporter) -> None:
        """Returns when every node sees all mirrors, and the same in them."""
        rank = self._node.node_rank
        waited_for = sorted({one for ranks in self._fill.values() for one in ranks} - {rank})
        with _patience(waited_for, reporter):
            self._link.meet(self._task.stage("mirrored"))
        for name in self._fill:
            _await_visible(Path(self._node.data_sources[name]), check)
        proofs = {name: self._data_proof(name) for name in self._fill}
        payload = {"hostname": self._node.hostname, "data": proofs}
        data, _ = self._link.meet(self._task.stage("filled"), payload)
        self._note(data)

    def _note(self, data: Mapping[str, Any]) -> None:
        if self._node.node_rank == 0:
            self.notes += tuple(data["notes"])

    def _places(self) -> dict[str, str]:
        """Where this node leaves a sentinel: the directory of the mirrors, and mounts that the script may write."""
        places = {"mirror": self._node.mirror_root} if self._node.mirror_root else {}
        return places | {mount.target: mount.source for mount in self._mounts() if _is_writable_folder(mount)}

    def _mounts(self) -> list[Mount]:
        """The user's own mounts."""
        container = self._node.container
        homes = {BOX, *(item.home for item in self._task.plan.job.data)}
        return [mount for mount in container.mounts if mount.target not in homes] if container else []

    def _proof(self, left: Mapping[str, tuple[str, str]], seen: Mapping[str, list[int]]) -> dict[str, Any]:
        from madrun.data.fingerprint import fingerprint

        node = self._node

        def place(key: str, path: str) -> dict[str, Any]:
            token, error = left.get(key, ("", ""))
            found = {"path": path, "fs": filesystem_of(path), "left": bool(token), "error": error}
            return found | {"saw": seen.get(key, [])}

        mounts: dict[str, Any] = {}
        deadline = time.monotonic() + _MOUNTS_S
        for mount in self._mounts():
            mounts[mount.target] = place(mount.target, mount.source)
            remains = deadline - time.monotonic()
            if mount.read_only and remains > 0 and not _is_of_the_system(mount.source):
                mounts[mount.target]["print"] = to_plain(fingerprint(mount.source, min(remains, _MOUNTS_S / 4)))
        return {
            "hostname": node.hostname,
            "local": node.local_data,
            "mirror": place("mirror", node.mirror_root) if node.mirror_root else None,
            "data": {name: self._data_proof(name) for name in node.data_sources},
            "mounts": mounts,
        }

    def _data_proof(self, name: str) -> dict[str, Any]:
        from madrun.data.fingerprint import fingerprint

        path = self._node.data_sources[name]
        there = Path(path).exists()
        limit = _DATA_S / max(1, len(self._node.data_sources))
        return {
            "path": path,
            "fs": filesystem_of(path),
            "there": there,
            "source": name in self._node.fetches,
            "own": name in self._node.own_data,
            "print": to_plain(fingerprint(path, limit)) if there else None,
        }


def _word(key: str) -> str:
    """Two mounts of one directory leave two files."""
    return "" if key == "mirror" else "-" + "".join(c if c.isalnum() else "_" for c in key)[-40:]


def _is_writable_folder(mount: Mount) -> bool:
    source = os.path.realpath(mount.source)
    return (
        not mount.read_only and not _is_of_the_system(source) and Path(source).is_dir() and os.access(source, os.W_OK)
    )


def _is_of_the_system(path: str) -> bool:
    return path in _SYSTEM or any(path == tree or path.startswith(f"{tree}/") for tree in _SYSTEM_TREES)


def _await_visible(path: Path, check: Callable[[], None]) -> None:
    """Returns when the path is there, or it has not come for some seconds; the parent is listed each time."""
    deadline = time.monotonic() + _VISIBLE_S
    while time.monotonic() < deadline:
        check()
        try:
            if any(entry.name == path.name for entry in path.parent.iterdir()):
                return
        except OSError:
            return
        time.sleep(_BETWEEN_S)


@contextmanager
def _patience(ranks: list[int], reporter: Reporter) -> Iterator[None]:
    """A line now and then while other nodes make mirrors."""
    over = threading.Event()

    def tell() -> None:
        started = time.monotonic()
        while ranks and not over.wait(_NEWS_EVERY_S if time.monotonic() - started > 1 else 1):
            waited = format_duration(time.monotonic() - started)
            reporter.line(f"waiting for node {ranges(ranks)}, which makes the mirror of the data ({waited})")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
