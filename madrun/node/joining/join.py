"""How the agents of a command become one: node 0 listens, everyone connects, the jobs are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from madrun.node.channel.greeting import NotYet
from madrun.node.channel.link import Aborted, Link, PeerLink, SoloLink, connect
from madrun.node.channel.protocol import hello
from madrun.node.joining.judges import JUDGES
from madrun.node.task import Interrupt, Reporter, Stopped
from madrun.planning.namedinterfaces import interface_notes
from madrun.probe.environment import nodes_secret
from madrun.spec.facts import HostFacts
from madrun.spec.plan import Plan
from madrun.spec.record import Gate

if TYPE_CHECKING:
    from madrun.node.channel.server import Server
    from madrun.node.delivery.intake import Intake
    from madrun.node.joining.room import WaitingRoom
    from madrun.node.launching.head import Launches

_WORTH_STAYING = ("gate", "join refused", "node")  # what is wrong with the commands: also those who come late must hear


@dataclass(slots=True)
class Party:
    """The link of this node, and on node 0 the server behind it."""

    link: Link
    server: Server | None = None
    intake: Intake | None = None
    gate: Gate | None = None
    launches: Launches | None = None

    def close(self, stay_s: float = 0.0) -> None:
        """Leaves; node 0 ends the channel for all. `stay_s`: for how long the others wait for that."""
        self.link.stay(stay_s)
        self.link.close()
        if self.server is not None:
            self.server.close()
        if self.intake is not None:
            self.intake.close()


def join(plans: list[Plan], facts: HostFacts, timeout_s: float, interrupt: Interrupt, reporter: Reporter) -> Party:
    """Returns when every node has joined with the same jobs.

    Raises `ContextError` where the nodes' secrets differ or an interface does not serve, else `NodesError`, `Aborted`
    or `Stopped`.
    """
    node, job = plans[0].node, plans[0].job
    if job.nnodes == 1:
        if any(interface_notes(p.node.gloo_ifname, p.node.nccl_ifname, facts.interfaces) for p in plans):
            from madrun.node.joining.doorways import check_names

            for plan in plans:
                check_names(plan, facts)
        return Party(SoloLink(JUDGES))
    from madrun.node.joining.doorways import check_interfaces, other_addresses
    from madrun.node.joining.gate import pass_gate
    from madrun.node.joining.room import WaitingRoom

    secret = nodes_secret()
    reporter.phase("join")
    server = intake = launches = None
    if node.node_rank == 0:
        from madrun.node.channel.server import Server
        from madrun.node.delivery.intake import Intake
        from madrun.node.launching.head import Launches

        check_interfaces(plans[0], facts)
        intake, launches = Intake(), Launches()
        doors = {"files": intake.door, "launch": launches.door}
        at = [node.master_addr, *other_addresses(node.master_addr, facts)]
        server = Server(at, node.control_port, job.nnodes, JUDGES, doors, secret=secret)
    room = WaitingRoom(plans[0], timeout_s, interrupt, reporter, server)
    link = None
    try:
        link = _enter(plans, room, secret)
        room.fail = link.fail
        gate = pass_gate(link, plans, facts)
    except BaseException as error:
        if link is not None:
            if isinstance(error, Stopped):
                link.fail(error.failure)  # the others hear what happened, and not that a connection ended
            elif isinstance(error, Aborted) and server is not None and error.failure.kind in _WORTH_STAYING:
                room.stay_for_late_ones()
            link.close()
        if server is not None:
            server.close()
        raise
    room.joined = True
    return Party(link, server, intake, gate, launches)


def _enter(plans: list[Plan], room: WaitingRoom, secret: bytes) -> PeerLink:
    """A link that node 0 has accepted; node 0 may start later than this node."""
    node, nnodes = plans[0].node, plans[0].job.nnodes
    cards = ", ".join(dict.fromkeys(plan.job.card for plan in plans))
    greeting = hello(node.node_rank, nnodes, node.hostname, cards)
    while True:
        connection = connect(node.master_addr, node.control_port, room.left_s, room.not_yet)
        link = PeerLink(connection, room.waiting, room.pause, room.board)
        try:
            link.greet(greeting, secret)
            return link
        except NotYet as reason:
            room.turned_away(str(reason))
