"""What one node does for a runner that is started on node 0 alone; nothing for every other runner."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from madrun.node.channel.link import Aborted, Link
from madrun.node.task import Stopped, Task
from madrun.node.workspace import Workspace
from madrun.runners import RUNNERS
from madrun.spec.plan import NodePlan
from madrun.spec.record import Failure

if TYPE_CHECKING:
    from madrun.node.launching.head import Dispatcher, Launches
    from madrun.node.launching.hold import Holder

Look = Callable[[], Failure | None]
_ENDED = "it ended while node 0 was still there; does a firewall between them end connections that say nothing?"


class Launching:
    """`launches`: the door of node 0, None elsewhere."""

    def __init__(self, task: Task, node: NodePlan, space: Workspace, launches: Launches | None) -> None:
        self._task, self._node, self._space, self._launches = task, node, space, launches
        self._dispatcher: Dispatcher | None = None
        self._holder: Holder | None = None
        self._head = RUNNERS[task.plan.job.runner].head

    def prepare(self) -> None:
        """Writes what the runner reads into the box of node 0."""
        if self._head and self._node.role == "script":
            from madrun.node.launching.hosts import hostfiles

            for name, text in hostfiles(self._task.plan.job).items():
                (self._space.box / name).write_text(text)

    def open(self, link: Link, send: Callable[[str], None]) -> None:
        """Before the barrier: a node that holds waits for starts, node 0 looks for what is asked for."""
        if not self._head or self._task.plan.job.nnodes == 1:
            return
        if self._node.role == "hold":
            from madrun.node.launching.hold import Holder

            self._holder = Holder(self._dial(link), self._space.launches, send)
        elif self._launches is not None:
            from madrun.node.launching.head import Dispatcher
            from madrun.node.launching.hosts import ranks_by_name

            gate = self._task.gate
            hosts = ranks_by_name(self._task.plan.job.nnodes, gate, self._node.host_list)
            addresses = tuple(address for _, address in gate.hosts) if gate is not None else ()
            self._dispatcher = Dispatcher(self._space.launches, self._launches, hosts, addresses)
            self._dispatcher.start()

    def _dial(self, link: Link) -> socket.socket:
        try:
            connection = link.dial("launch")
        except OSError as error:
            if link.failure is not None:
                raise Aborted(link.failure) from None
            raise Stopped(self._cut(str(error))) from None
        assert connection is not None
        return connection

    def watching(self, look: Look) -> Look:
        """The look, and on a node that holds whether node 0 can still start something there, or say that it is over."""
        return lambda: look() or (self._cut(_ENDED) if self._holder and self._holder.lost else None)

    def _cut(self, why: str) -> Failure:
        rank = self._node.node_rank
        text = f"the connection by which {self._task.plan.job.runner} on node 0 starts ranks on node {rank}: {why}"
        return Failure(kind="runner", text=text, node=rank)

    def over(self, code: int) -> None:
        """The script of this node has ended by itself; on node 0 that is the end for all.

        Where it failed, the failure says so to all, and not who took no part in it.
        """
        if self._dispatcher is not None and code == 0:
            self._dispatcher.over()

    def end(self) -> None:
        """However it ended, nothing more is started. What is held still stands, for whoever examines it."""
        if self._dispatcher is not None:
            self._dispatcher.end()
        if self._holder is not None:
            self._holder.close()

    @property
    def finding(self) -> str:
        """What stands against a run of which nothing was started on a node that held; else empty."""
        if self._holder is None or self._holder.started:
            return ""
        return (
            f"nothing was started on node {self._node.node_rank}: the script on node 0 did not use "
            f"$MULTI_NODE_RUNNER ({self._task.plan.job.runner}), so the other nodes took no part"
        )
