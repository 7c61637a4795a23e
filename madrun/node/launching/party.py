"""What one node does for a runner that is started on node 0 alone; nothing for every other runner."""

from __future__ import annotations

from collections.abc import Callable

from madrun.node.channel.link import Link
from madrun.node.launching.head import Dispatcher, Launches
from madrun.node.launching.hold import Holder
from madrun.node.launching.hosts import hostfiles, ranks_by_name
from madrun.node.task import Task
from madrun.node.workspace import Workspace
from madrun.runners import RUNNERS
from madrun.spec.plan import NodePlan


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
            for name, text in hostfiles(self._task.plan.job).items():
                (self._space.box / name).write_text(text)

    def open(self, link: Link, send: Callable[[str], None]) -> None:
        """Before the barrier: a node that holds waits for starts, node 0 looks for what is asked for."""
        if not self._head or self._task.plan.job.nnodes == 1:
            return
        if self._node.role == "hold":
            connection = link.dial("launch")
            assert connection is not None
            self._holder = Holder(connection, self._space.launches, send)
        elif self._launches is not None:
            gate = self._task.gate
            hosts = ranks_by_name(self._task.plan.job.nnodes, gate, self._node.host_list)
            addresses = tuple(address for _, address in gate.hosts) if gate is not None else ()
            self._dispatcher = Dispatcher(self._space.launches, self._launches, hosts, addresses)
            self._dispatcher.start()

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
