"""Keeps one box: its lease, its steps, its time limit, and its end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

from madrun.node.channel.link import Aborted, Link
from madrun.node.steps import Steps, exit_code
from madrun.node.task import Interrupt, Stopped, Task
from madrun.node.workspace import Workspace
from madrun.planning.driver import LEASE_GRACE_S
from madrun.probe.environment import client_env
from madrun.runtimes.box import Box, Sink
from madrun.runtimes.outside import Trouble
from madrun.runtimes.process import ProcessBox
from madrun.spec.plan import JobPlan, NodePlan
from madrun.spec.record import LEASE_ENDED, Failure
from madrun.units import format_duration

HEARTBEAT_S = 1.0
_READY_TIMEOUT_S = 60.0
_HAND_OVER_S = 60.0
_KILL_S = 15.0
_LAST_WORDS = frozenset({"exit", "gone", "lease", "signal"})  # the first of them says what ended the script
_SIGNALLED = 143
_QUICK_TICK_S, _SLOW_TICK_S = 0.004, 0.05
_TICK_SHARE = 0.03  # of what was waited already: each look takes a fifth of a millisecond from what is measured


Look = Callable[[], Failure | None]


def _none() -> None:
    """Nothing stands against going on."""


def open_box(task: Task, node: NodePlan, sink: Sink) -> Box:
    """Starts the driver of the plan, in its container or on this host; `EngineError` where that cannot be."""
    if node.process is not None:
        return ProcessBox(node.process, task.secrets, sink)
    from madrun.runtimes.docker import DockerBox

    assert node.container is not None
    return DockerBox(task.engine, node.container, task.secrets, sink, client_env(task.facts.engine))


class BoxKeeper:
    """Renews the lease from a thread of its own until `end`; everything else happens in the caller's thread."""

    def __init__(self, box: Box, space: Workspace, job: JobPlan, watched: tuple[Link, Interrupt, int]) -> None:
        self.box = box
        self.steps = Steps(space.box / "steps")
        self._job = job
        self._link, self._interrupt, self._rank = watched
        self._over = threading.Event()
        threading.Thread(target=self._renew, daemon=True).start()

    def _renew(self) -> None:
        while not self._over.wait(HEARTBEAT_S):
            self.box.send(".")

    def await_ready(self) -> tuple[str, ...]:
        """Notes on what it stands in, when the driver stands.

        `Stopped` where it ended, is not heard of, or lacks what the plan needs, and where the run is over.
        """
        self._until("ready", _READY_TIMEOUT_S, self._fail("engine", "the driver did not report within 60 s"))
        missing = self.steps.seen.get("missing")
        if missing is not None:
            text = (
                f"in the container on node {self._rank} these device files are missing or may not be opened: "
                f"{missing.value.strip()}; the engine took the request and did not carry it out. "
                "Check the vendor's container toolkit and the owners of the files on the host"
            )
            raise Stopped(self._fail("engine", text))
        lacking = self.steps.seen.get("lacking")
        if lacking is not None:
            raise Stopped(self._fail("set-up", self._lacking(lacking.value.split())))
        told = self.steps.seen.get("inside")
        return self._judge_inside(told.value) if told is not None else ()

    def _lacking(self, names: list[str]) -> str:
        """That programs are missing which the runner needs, and what can be done."""
        where = "on the PATH of the image" if self._job.in_container else "on the PATH of this host"
        other = "MPI_LAUNCH 'agent'" if self._job.mpi_launch == "ssh" and "mpirun" not in names else "another RUNNER"
        verb = "is" if len(names) == 1 else "are"
        return (
            f"RUNNER {self._job.runner} needs {', '.join(names)}, which {verb} not {where} (node {self._rank}); "
            f"install {'it' if len(names) == 1 else 'them'} there, or give {other} in multi_node_args"
        )

    def _judge_inside(self, words: str) -> tuple[str, ...]:
        """Notes on what RDMA finds there; `Stopped` where RDMA was asked for and cannot be."""
        from madrun.planning.inside import describe, doubts, obstacles, parse

        inside, asked = parse(words), self._job.transport == "rdma"
        found = obstacles(inside)
        where = f"{'in the container ' if self._job.in_container else ''}on node {self._rank}"
        if found and asked:
            raise Stopped(self._fail("rdma", f"TRANSPORT rdma, and {where}: {'; '.join(found)}"))
        lines = [*([describe(inside)] if asked else []), *found, *doubts(inside)]
        return tuple(f"RDMA {where}: {line}" for line in lines)

    def run_script(self, look: Look = _none) -> int:
        """Starts the script and returns its exit code; `Stopped` on time-out, interrupt or a driver that died.

        `look` is asked while the script runs; a failure that it names ends the run.
        """
        self.box.send("go")
        limit = self._job.timeout_s
        text = f"the script ran longer than its time limit of {format_duration(limit)} on node {self._rank}"
        self._until("exit", limit or float("inf"), self._fail("timeout", text), look=look)
        code = exit_code(self.steps.seen)
        assert code is not None
        return code

    def exit_code(self) -> int | None:
        """The script's exit code, None where it did not end by itself."""
        seen = self.steps.seen
        return None if {"stop", "kill", "signal", "lease"} & set(seen) else exit_code(seen)

    def _from_outside(self, code: int | None) -> Failure:
        """Why the driver ended before the script did; an engine that is stopped ends its containers first."""
        if "lease" not in self.steps.seen and self.box.ask() == "engine":
            return self._of_trouble("engine")
        return self._fail("node", self._how_it_ended(_SIGNALLED if code is None else code))

    def _how_it_ended(self, code: int) -> str:
        """Why the driver ended by itself, in words."""
        rank, seen = self._rank, self.steps.seen
        if "lease" in seen:
            return f"{LEASE_ENDED} {rank}: madrun was stopped, or starved, for {self._job.lease_s:g} s"
        if "signal" in seen:
            return f"the {self._what} was stopped from outside on node {rank} (by a signal such as SIGTERM)"
        if code == 128 + signal.SIGKILL:
            return f"the {self._what} was killed from outside on node {rank} (exit code {code})"
        if code < 0:
            return f"the {self._what} was removed from outside on node {rank}"
        return f"the driver ended with code {code} on node {rank}"

    @property
    def _what(self) -> str:
        return "container or its driver" if self._job.in_container else "driver"

    def _of_trouble(self, trouble: Trouble) -> Failure:
        """Why a run cannot go on that somebody has taken the container from."""
        if trouble == "paused":
            text = (
                f"the container on node {self._rank} was paused from outside (docker pause or podman pause), so that "
                "nothing that it measures counts; start again"
            )
            return self._fail("paused", text)
        text = (
            f"the container engine on node {self._rank} has gone: it was stopped, restarted or killed while the "
            "container ran; see its log, and start again when it answers"
        )
        return self._fail("engine", text)

    def _fail(self, kind: str, text: str) -> Failure:
        return Failure(kind=kind, text=text, node=self._rank)

    def _until(self, name: str, limit_s: float, late: Failure, watching: bool = True, look: Look = _none) -> None:
        started = time.monotonic()
        while True:
            ended = self.box.wait(0)
            seen = self.steps.read()
            first = next((step for step in seen if step in _LAST_WORDS), "")
            if first in ("lease", "signal") or (ended is not None and not first):
                raise Stopped(self._from_outside(ended))
            if name in seen or (name == "exit" and first):
                return
            if ended is not None:
                raise Stopped(self._fail("node", self._how_it_ended(ended)))
            if self.box.trouble:
                raise Stopped(self._of_trouble(self.box.trouble))
            self._interrupt.check(self._rank)
            if watching and self._link.failure is not None:
                raise Aborted(self._link.failure)
            waited = time.monotonic() - started
            failure = late if waited > limit_s else look()
            if failure is not None:
                raise Stopped(failure)
            time.sleep(min(_SLOW_TICK_S, max(_QUICK_TICK_S, _TICK_SHARE * waited)))

    def stay(self, by_itself: bool) -> bool:
        """Ends the script where it still runs, and leaves the box standing; False where the box has gone meanwhile."""
        self.box.send("stay" if by_itself else f"stay {round(self._grace() * 10)}")
        late = self._fail("node", "the driver did not report the end of the script")
        try:
            self._until("end", _HAND_OVER_S, late, watching=False)
        except Stopped:
            return False
        return True

    def end(self, by_itself: bool) -> list[str]:
        """Ends the box within the grace period and a little; findings say what could not be ended."""
        before = self._interrupt.count
        grace = self._grace()
        self.box.send("bye" if by_itself else f"stop {round(grace * 10)}")
        bound = _HAND_OVER_S if by_itself else grace + 3
        ended = self._wait(bound if self.box.trouble != "paused" else 0, before)  # what is paused hears nothing
        if ended is None:
            self.box.kill()
            ended = self.box.wait(_KILL_S)
        self._over.set()
        self.steps.close()
        if ended is None:
            shown = "docker ps or podman ps shows it with --filter label=madrun.run"
            return [f"the container or its processes could not be ended ({shown})"]
        return []

    def _grace(self) -> float:
        """The grace period; short where a node was lost, for nothing that the script still says can count."""
        failure = self._link.failure
        lost = failure is not None and failure.kind == "node lost"
        return min(self._job.grace_s, LEASE_GRACE_S) if lost else self._job.grace_s

    def _wait(self, bound: float, signals: int) -> int | None:
        """The box's exit code, or None after the bound, or at the next impatient signal."""
        deadline = time.monotonic() + bound
        while time.monotonic() < deadline:
            ended = self.box.wait(_SLOW_TICK_S)
            if ended is not None:
                return ended
            if self.box.trouble == "paused":
                return None
            if self._interrupt.count > max(signals, 1):
                return None
        return None
