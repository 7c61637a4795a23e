"""The pods of a launch as the cluster last told of them: listed once, then followed by their changes."""

from __future__ import annotations

import threading
import time
from typing import Any

from madrun.backends.kubernetes.cluster import Cluster
from madrun.backends.kubernetes.condition import name_of
from madrun.backends.kubernetes.refused import Away
from madrun.errors import MadrunError

_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class Mirror:
    """A thread of its own; `start` it, and `close` it."""

    def __init__(self, cluster: Cluster, selector: str) -> None:
        self._cluster, self._selector = cluster, selector
        self._pods: dict[str, dict[str, Any]] = {}
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._away_since: float | None = None
        self._trouble = ""
        self._listed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pods", daemon=True)

    def start(self) -> None:
        """Begins to follow."""
        self._thread.start()

    def close(self) -> None:
        """The thread ends by itself at its next answer; nobody waits for it."""
        self._closed.set()

    def pods(self) -> list[dict[str, Any]]:
        """As they are now."""
        with self._lock:
            return list(self._pods.values())

    def pod(self, name: str) -> dict[str, Any] | None:
        """One of them; None once it is gone."""
        with self._lock:
            return self._pods.get(name)

    @property
    def listed(self) -> bool:
        """Whether the cluster has told of them at all."""
        return self._listed.is_set()

    def away(self) -> tuple[float, str]:
        """For how many seconds the API has not answered, and what it said; 0 where it answers."""
        since = self._away_since
        return (0.0, "") if since is None else (time.monotonic() - since, self._trouble)

    def _run(self) -> None:
        pause = _PAUSE_S
        while not self._closed.is_set():
            try:
                pods, version = self._cluster.pods(self._selector)
                self._replace(pods)
                for change in self._cluster.pod_changes(self._selector, version):
                    if self._closed.is_set() or not self._take(change):
                        break
                pause = _PAUSE_S
                self._closed.wait(pause)  # a watch that ends at once is not to be asked for without a pause
            except (Away, MadrunError) as error:
                self._trouble = str(error)
                self._away_since = self._away_since or time.monotonic()
                self._closed.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _replace(self, pods: list[dict[str, Any]]) -> None:
        with self._lock:
            self._pods = {name_of(pod): pod for pod in pods}
        self._away_since = None
        self._listed.set()

    def _take(self, change: dict[str, Any]) -> bool:
        """False where the stream is of no more use: an error (410 Gone among them) means to list them anew."""
        kind, pod = change.get("type"), change.get("object") or {}
        if kind in ("ADDED", "MODIFIED"):
            with self._lock:
                self._pods[name_of(pod)] = pod
        elif kind == "DELETED":
            with self._lock:
                self._pods.pop(name_of(pod), None)
        return kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK")
