"""Looks after the processes of one box while the script runs: telemetry, stalls, evidence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from madrun.node.channel.link import Link
from madrun.node.proof import Counting
from madrun.node.watching import stall
from madrun.node.watching.fallen import Fallen
from madrun.node.workspace import Workspace
from madrun.spec.plan import JobPlan, NodePlan
from madrun.spec.record import Failure
from madrun.spec.transport import NodeTransport

if TYPE_CHECKING:
    from madrun.node.watching.sampling import Row, Sampling, Summary
    from madrun.probe.telemetry import Source

_FIRST_S = 0.2  # a script that has ended by then leaves nothing that could be sampled, and pays for nothing
_EVERY_S = 1.0
_EXAMINED_S = 12.0  # what takes ten seconds, and a little
_LAST_S = 5.0  # a reading of a GPU that hangs is not waited for any longer


class Watch:
    """Made before the script starts; `pid` is the driver's as this host sees it, None where it cannot be seen.

    `note` says why telemetry.csv is not complete; empty where it is. `transport`: the bytes that moved while the script
    ran; None on one node, and until it has ended.
    """

    def __init__(self, job: JobPlan, node: NodePlan, space: Workspace, link: Link, pid: int | None) -> None:
        self._job, self._node, self._space, self._link = job, node, space, link
        self._told_pid = pid
        self._run = space.root.parent.name
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._stalled: Failure | None = None
        self._fallen = Fallen(job, node.node_rank, space)
        self._summary: Summary = {}
        self._last_known = stall.LastKnown()
        self._idle_s = 0.0
        self.note = ""
        self._counting: Counting | None = None
        self.transport: NodeTransport | None = None

    def start(self) -> None:
        """From now on samples are written to telemetry.csv, once a second; none of a script that has ended at once."""
        self._thread.start()
        self._counting = Counting(self._job, self._node)

    def look(self) -> Failure | None:
        """The failure of a rank that others outlive, on node 0 also of a run that stalls on all nodes.

        Cheap enough for every few milliseconds.
        """
        return self._stalled or self._fallen.look()

    def examine(self, send: Callable[[str], None], secrets: tuple[str, ...]) -> tuple[str, ...]:
        """Writes what tells why the run stands still, within ten seconds; names below the node's directory.

        `send` gives the driver a line; `secrets` are masked.
        """
        from madrun.node.watching.evidence import Examination

        examination = Examination(self._space, self._job, self._node.files, self._pid(), send, secrets)
        # In a thread that is left alone after its time: even a look at /proc waits for a process that the kernel holds,
        # as one whose memory lies on a file server that is gone.
        thread = threading.Thread(target=examination.run, daemon=True)
        thread.start()
        thread.join(_EXAMINED_S)
        return tuple(sorted(examination.names))

    def stop(self) -> Summary:
        """Ends the sampling when the script has ended; by column mean, max and last.

        On node 0 the other nodes are looked after until they have ended too.
        """
        if not self._thread.ident:
            return {}
        self._over.set()
        if self._counting is not None:
            self.transport = self._counting.told()
        self._thread.join(_LAST_S)
        if self._thread.is_alive():
            self.note = f"telemetry.csv is not complete: a reading took more than {_LAST_S:g} s"
        self._link.tell(stall.status(self._run, self._idle_s, ended=True))
        if self._node.node_rank == 0 and self._job.nnodes > 1 and self._job.stall_timeout_s and not self._stalled:
            threading.Thread(target=self._oversee, daemon=True).start()
        return self._summary

    def _sample(self) -> None:
        if self._over.wait(_FIRST_S):
            return
        try:
            self._sample_until_over(time.monotonic())
        except Exception as error:  # telemetry may never end a run, nor be missing without a word
            self.note = f"telemetry.csv is not complete, and stalls are not seen: {type(error).__name__}: {error}"

    def _sample_until_over(self, started: float) -> None:
        from madrun.node.watching.sampling import Sampling

        sampling = Sampling(self._space.root / "telemetry.csv", self._sources(), started)
        try:
            self._rows(sampling, stall.Idleness(started), stall.Traces(self._space))
        finally:
            self._summary, self.note = sampling.close(), sampling.note

    def _rows(self, sampling: Sampling, idleness: stall.Idleness, traces: stall.Traces) -> None:
        due = time.monotonic()
        while True:
            self._judge(idleness, traces, sampling.take())
            due = max(due + _EVERY_S, time.monotonic())  # what was missed is not made up for
            if self._over.wait(max(0.0, due - time.monotonic())):
                break
        sampling.take()

    def _pid(self) -> int | None:
        """The driver's, if it is the driver's: an engine elsewhere counts its own processes."""
        from madrun.node.watching.processtable import drives

        return self._told_pid if self._told_pid is not None and drives(self._told_pid) else None

    def _sources(self) -> list[Source]:
        from madrun.probe.telemetry import Wanted, open_sources

        node = self._node
        chosen = (node.nccl_ifname, node.gloo_ifname)
        return open_sources(Wanted(vendor=self._job.vendor, pid=self._pid(), gpus=node.gpus, interfaces=chosen))

    def _judge(self, idleness: stall.Idleness, traces: stall.Traces, row: Row) -> None:
        moved = traces.changed() or stall.moves(self._last_known.fill(row), self._job.nproc_per_node)
        self._idle_s = idleness.look(time.monotonic(), moved)
        self._link.tell(stall.status(self._run, self._idle_s))
        if self._node.node_rank == 0 and self._job.stall_timeout_s:
            self._stalled = self._verdict()

    def _verdict(self) -> Failure | None:
        return stall.stalled(self._link.board(), self._run, self._job.nnodes, self._job.stall_timeout_s)

    def _oversee(self) -> None:
        """Node 0's own script has ended; the others' may stand still all the same."""
        while self._link.failure is None:
            board = self._link.board()
            over = [words.get("idle_ended") for words in board.values() if words.get("idle_run") == self._run]
            if board.get(0, {}).get("idle_run") != self._run or (len(over) == self._job.nnodes and all(over)):
                return
            failure = self._verdict()
            if failure is not None:
                self._link.fail(failure)
                return
            time.sleep(_EVERY_S)
