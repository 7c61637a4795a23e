"""A launch on a cluster from its submission to its end: what is said, what is kept, and what the command ends with."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, BinaryIO

from madrun.backends.aside import STARTED
from madrun.backends.head import Head
from madrun.backends.kubernetes.cluster import Cluster
from madrun.backends.kubernetes.condition import (
    Outcome,
    bad_hosts,
    ended,
    has_begun,
    has_ended,
    lost,
    name_of,
    outcome,
    rank_of,
    trouble,
    wanted,
    why_failed,
)
from madrun.backends.kubernetes.home import Sieve, Sink
from madrun.backends.kubernetes.mirror import Mirror
from madrun.backends.kubernetes.names import Names
from madrun.backends.kubernetes.payload import marker
from madrun.backends.kubernetes.podlog import PodLog
from madrun.backends.kubernetes.refused import Gone
from madrun.backends.kubernetes.settings import KubernetesSettings
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.look import log_of
from madrun.errors import ExitCode, MadrunError
from madrun.spec.launch import BAD_HOSTS

_TICK_S, _LOOK_S = 0.2, 2.0
_AWAY_SAID_S, _AWAY_S = 5.0, 600.0
_FOLLOWED = 64  # logs at a time; those of the other nodes are read when they have ended
_LAST_LINES_S, _ATTACH_S = 30.0, 3.0


class Watch:
    """`follow` until the Job has ended, then `drain` what its pods printed, then `close`."""

    def __init__(
        self, cluster: Cluster, names: Names, settings: KubernetesSettings, head: Head, folder: LaunchFolder
    ) -> None:
        self._cluster, self._names, self._settings, self._head, self._folder = cluster, names, settings, head, folder
        self.mirror = Mirror(cluster, names.selector)
        self.sieve = Sieve(marker(names), partial(self._show, head.show), partial(self._show, head.tell))
        self._logs: dict[str, PodLog] = {}
        self._files: dict[int, BinaryIO] = {}
        self._last: dict[str, dict[str, Any]] = {}  # pods as they were last, also those that are gone since
        self._said = ""
        self._bad_since: float | None = None
        self._lost_since: float | None = None
        self._refused: tuple[float, str] | None = None  # since when the cluster does not tell of the Job, and why
        self._away_said = self._begun = False

    @property
    def heard_first(self) -> bool:
        """Whether node 0 has begun, so that it could send something."""
        return 0 in self._files

    def follow(self) -> Outcome:
        """Ends with the Job, with what no waiting mends, or with a signal at the head."""
        self.mirror.start()
        looked, job = 0.0, dict[str, Any]()
        started = time.monotonic()
        while not self._head.stop.wait(_TICK_S):
            pods = self._take_pods()
            self._read_logs(pods)
            if found := self._away():
                return found
            if time.monotonic() - looked < _LOOK_S:
                continue
            looked = time.monotonic()
            try:
                job = self._cluster.get(self._names.kind, self._names.job)
                self._refused = None
            except Gone:
                return self._gone()
            except MadrunError as error:  # a login too may run out, and be renewed
                self._refused = self._refused or (looked, str(error))
                continue
            good = ended(job)
            if not good and job["metadata"].get("deletionTimestamp"):
                return self._gone()
            if good is not None:
                return self._ended(good, job)
            if found := self._lost(pods) or self._waits(job, pods, started):
                return found
        return Outcome(int(ExitCode.INTERRUPTED), self._head.reason)

    def attach(self) -> None:
        """Waits a moment until the logs of all pods that run are followed: once deleted, a pod shows none."""
        deadline = time.monotonic() + _ATTACH_S
        while time.monotonic() < deadline and self._head.count < 2:
            self._read_logs(self._take_pods())
            if self.mirror.listed and all(log.opened.is_set() or log.wait(0) for log in self._logs.values()):
                return
            time.sleep(_TICK_S)

    def drain(self, limit_s: float, only_first: bool = False) -> None:
        """Waits for the last lines of pods that have ended or are about to; `only_first`: for those of node 0.

        `limit_s`: so long without any line.
        """
        begun = time.monotonic()
        while self._head.count < 2:
            self._read_logs(self._take_pods(), all_of_them=True)
            awaited = [log for name, log in self._logs.items() if not only_first or rank_of(self._last[name]) == 0]
            coming = [log for log in awaited if not log.wait(0)]
            if self.mirror.listed and not coming and not self._unread():
                break
            if time.monotonic() >= max([begun, *(log.heard for log in coming)]) + limit_s:
                break
            time.sleep(_TICK_S)
        self.sieve.flush()

    def close(self) -> None:
        """Ends the threads and the files."""
        self.mirror.close()
        for log in self._logs.values():
            log.close()
        for file in self._files.values():
            file.close()

    def _take_pods(self) -> list[dict[str, Any]]:
        pods = self.mirror.pods()
        self._last.update((name_of(pod), pod) for pod in pods)
        return pods

    def _unread(self) -> bool:
        return any(has_begun(pod) and name_of(pod) not in self._logs for pod in self.mirror.pods())

    def _read_logs(self, pods: list[dict[str, Any]], all_of_them: bool = False) -> None:
        for pod in pods:
            name, rank = name_of(pod), rank_of(pod)
            if name in self._logs or not has_begun(pod) or not (all_of_them or rank < _FOLLOWED):
                continue
            self._logs[name] = PodLog(self._cluster, name, self._sink(rank), partial(self._has_ended, name))
            self._logs[name].start()

    def _sink(self, rank: int) -> Any:
        if rank not in self._files:  # a queue may end a pod for others, and begin one of the same rank later
            self._files[rank] = log_of(self._folder, rank).open("wb", buffering=0)
        return self.sieve.take if rank == 0 else self._files[rank].write

    def _show(self, to: Sink, line: bytes) -> None:
        self._files[0].write(line)
        to(line)

    def _has_ended(self, name: str) -> bool:
        pod = self.mirror.pod(name)
        return (pod is None and self.mirror.listed) or (pod is not None and has_ended(pod))

    def _away(self) -> Outcome | None:
        seconds, why = self.mirror.away()
        if self._refused and not seconds:
            seconds, why = time.monotonic() - self._refused[0], self._refused[1]
        if seconds >= _AWAY_SAID_S and not self._away_said:
            self._head.say(f"{why}; asking again")
            self._away_said = True
        if not seconds and self._away_said:
            self._head.say("the cluster answers again")
            self._away_said = False
        if seconds < _AWAY_S:
            return None
        return Outcome(int(ExitCode.RUN_FAILED), f"{why}, for {_AWAY_S / 60:g} minutes; the pods may still run")

    def _gone(self) -> Outcome:
        text = f"{self._names.kind.lower()}/{self._names.job} was deleted from outside"
        return Outcome(int(ExitCode.RUN_FAILED), text)

    def _ended(self, good: bool, job: dict[str, Any]) -> Outcome:
        """Once more after its last change has come, so that every node's own code is known."""
        deadline = time.monotonic() + self._patience()
        while time.monotonic() < deadline and not self._head.stop.is_set():
            self._read_logs(self._take_pods())
            if self.mirror.listed and all(map(has_ended, self.mirror.pods())):
                break
            time.sleep(_TICK_S)
        self._note_begun(job, list(self._last.values()))
        if not good and (taken := lost(self._last.values(), leaving=False)):
            self._folder.journal(BAD_HOSTS, hosts=bad_hosts(self._last.values(), leaving=False))
            return Outcome(int(ExitCode.RUN_FAILED), taken)
        return outcome(good, why_failed(job), self._last.values())

    def _lost(self, pods: list[dict[str, Any]]) -> Outcome | None:
        """A pod that is taken away fails the Job; where its host is lost, nobody tells the Job so."""
        why = lost(pods)
        if not why:
            self._lost_since = None
            return None
        self._lost_since = self._lost_since or time.monotonic()
        if time.monotonic() - self._lost_since < self._patience():
            return None
        self._folder.journal(BAD_HOSTS, hosts=bad_hosts(pods))
        return Outcome(int(ExitCode.RUN_FAILED), why)

    def _waits(self, job: dict[str, Any], pods: list[dict[str, Any]], started: float) -> Outcome | None:
        """Says why nothing has begun yet; the outcome where that cannot be waited for."""
        if self._note_begun(job, pods):
            self._bad_since = None
            return None
        first = [name_of(pod) for pod in pods if not has_begun(pod)][:1]
        events = [event for name in (*self._names.told_of, *first) for event in self._cluster.events(name)]
        why, bearable = trouble(job, pods, events)
        if (job.get("spec") or {}).get("suspend"):
            why, bearable = f"queue {self._settings.queue} has not admitted it", True
        if why and why != self._said:
            self._head.say(why)
            self._said = why
        self._bad_since = None if bearable or not why else self._bad_since or time.monotonic()
        if self._bad_since and time.monotonic() - self._bad_since >= (self._settings.seconds("start_patience") or 0):
            return Outcome(int(ExitCode.USAGE), why)
        limit = self._settings.seconds("pending_timeout")
        if limit is not None and time.monotonic() - started >= limit:
            return Outcome(int(ExitCode.USAGE), f"not started within {limit} s: {why or 'its pods are not made yet'}")
        return None

    def _note_begun(self, job: dict[str, Any], pods: list[dict[str, Any]]) -> bool:
        """Whether all nodes have begun; the first time the folder is told where."""
        if len(pods) < wanted(job) or not all(map(has_begun, pods)):
            return False
        if not self._begun:
            hosts = {rank_of(pod): (pod.get("spec") or {}).get("nodeName") or name_of(pod) for pod in pods}
            self._folder.journal(STARTED, hosts=[hosts[rank] for rank in sorted(hosts)])
            self._begun = True
        return True

    def _patience(self) -> float:
        return (self._settings.seconds("termination_grace") or 0) + _LAST_LINES_S / 3
