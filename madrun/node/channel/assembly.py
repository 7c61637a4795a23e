"""The nodes of a run as a state machine: messages in, messages out; no socket, no clock.

A *stage* is a point that every node reaches with a payload; when the last one has come, a judge looks at all
payloads and either releases everyone or ends the run with a reason. A *final* stage is reached also after a
failure, by every node that is still there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from madrun.node.channel.protocol import VERSION, VISIT, Message
from madrun.spec.codec import to_plain
from madrun.spec.record import Failure

Payloads = dict[int, Any]
Outbox = list[tuple[int, Message]]
TWO_RUNS = "two runs at one place? give each its own MASTER_PORT"
_MOST_NAMES = 8
_MOST_RANGES = 12


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a judge says of a stage: data for every node, or the failure that ends the run.

    `each` holds further data for single nodes by rank, for what would grow with the square of their number.
    """

    data: Any = None
    failure: Failure | None = None
    each: Mapping[int, Any] = field(default_factory=dict)


Judge = Callable[[Payloads], Ruling]


def pass_all(_payloads: Payloads) -> Ruling:
    """Releases everyone without data."""
    return Ruling()


def ends_a_run(stage: str) -> bool:
    """Whether a run is over for all nodes once this stage is released."""
    return stage.endswith("/end")


class Assembly:
    """Keeps who has joined, who has reached what, and the first failure in order of arrival."""

    def __init__(self, nnodes: int, judges: Mapping[str, Judge]) -> None:
        self.nnodes = nnodes
        self.members: dict[int, Message] = {}
        self.failure: Failure | None = None
        self._judges = judges
        self._gone: set[int] = set()
        self._stages: dict[str, Payloads] = {}
        self._final: set[str] = set()
        self._closed = False

    @property
    def missing(self) -> list[int]:
        """Ranks that have not joined yet."""
        return [rank for rank in range(self.nnodes) if rank not in self.members]

    def hello(self, message: Message) -> tuple[int | None, str, Outbox]:
        """The newcomer's rank, or None with the reason for which it is refused; and what to tell the others.

        A run and a doctor's visit never end each other: the visit is refused, and the run's node gets no reason and no
        answer, so that it goes on waiting for its own node 0.
        """
        first = self.members.get(0, message)
        if _is_visit(first) != _is_visit(message):
            return None, self._refusal(message) if _is_visit(message) else "", []
        reason = _wrong_door(message) or self._refusal(message)
        if not reason:
            rank = int(message["node_rank"])
            self.members[rank] = message
            self._closed = len(self.members) == self.nnodes
            return rank, "", []
        if self._closed or message.get("protocol") != VERSION:
            return None, reason, []
        return None, reason, self.fail(Failure(kind="join refused", text=reason, node=_as_rank(message)))

    def _refusal(self, message: Message) -> str:
        who, rank = _shown(message.get("hostname", "a node")), message.get("node_rank")
        if message.get("protocol") != VERSION:
            return (
                f"{who} speaks protocol {_shown(message.get('protocol'))}, node 0 speaks {VERSION}: install one madrun"
            )
        mine = self.members[0].get("run") if 0 in self.members else None
        if mine and message.get("run") != mine:
            return (
                f"the card differs: {_shown(mine)} on node 0, {_shown(message.get('run'))} on {who} "
                f"(NODE_RANK {_shown(repr(rank))}); {TWO_RUNS}"
            )
        if message.get("nnodes") != self.nnodes:
            return (
                f"NNODES differs: {_shown(message.get('nnodes'))} on {who} (NODE_RANK {_shown(repr(rank))}), "
                f"{self.nnodes} on node 0"
            )
        if not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank < self.nnodes:
            return f"NODE_RANK {_shown(repr(rank))} on {who} is out of range; allowed: 0 to {self.nnodes - 1}"
        if rank in self.members:
            first = _shown(self.members[rank].get("hostname"))
            return f"NODE_RANK {rank} is given twice: on {first} and on {who}; {TWO_RUNS}"
        return ""

    def roll(self) -> Message:
        """Who has joined and who is missing, in words that stay short for any number of nodes."""
        if len(self.members) <= _MOST_NAMES:
            named = [f"{rank} ({_shown(self.members[rank].get('hostname'))})" for rank in sorted(self.members)]
            joined = ", ".join(named) or "none"
        else:
            joined = ranges(self.members)
        return {"type": "waiting", "joined": joined, "missing": ranges(self.missing)}

    def reach(self, rank: int, stage: str, payload: Any, final: bool) -> Outbox:
        """A node has come to a stage; the release once all have, or the failure that stands against it."""
        if self.failure is not None and not final:
            return [(rank, abort(self.failure))]
        self._stages.setdefault(stage, {})[rank] = payload
        if final:
            self._final.add(stage)
        return self._release(stage)

    def _release(self, stage: str) -> Outbox:
        payloads = self._stages[stage]
        if len(payloads) < self.nnodes - (len(self._gone) if stage in self._final else 0):
            return []  # most calls end here: what follows grows with the number of nodes
        expected = set(range(self.nnodes)) - (self._gone if stage in self._final else set())
        if not expected <= set(payloads):
            return []
        del self._stages[stage]
        ruling = self._judges.get(stage.partition("/")[2], pass_all)(payloads)
        if ruling.failure is not None:
            return self.fail(ruling.failure)
        release = {"type": "release", "stage": stage, "data": ruling.data}
        everyone = {str(rank): payload for rank, payload in payloads.items()}
        if stage in self._final:
            everyone["failure"] = to_plain(self.failure)
            self._final.discard(stage)
        if ends_a_run(stage) and not self._gone:
            self.failure = None  # what failed in this run does not stand against the next one
        return [(rank, _release_for(rank, release, everyone, ruling)) for rank in sorted(expected)]

    def awaited(self) -> list[int]:
        """Who has not come to the final stage that others wait at; nobody where there is none."""
        final = [self._stages.get(stage) for stage in self._final & set(self._stages)]
        come = {rank for payloads in final for rank in set(payloads or ())}
        return [rank for rank in range(self.nnodes) if come and rank not in come and rank not in self._gone]

    def fail(self, failure: Failure) -> Outbox:
        """The first failure wins; everyone hears of it."""
        if self.failure is not None:
            return []
        self.failure = failure
        message = abort(failure)
        return [(rank, message) for rank in sorted(set(self.members) - self._gone)]

    def lost(self, rank: int, reason: str) -> Outbox:
        """A node's connection has ended or gone silent."""
        if rank in self._gone:
            return []
        self._gone.add(rank)
        host = _shown(self.members.get(rank, {}).get("hostname", "?"))
        outbox = self.fail(Failure(kind="node lost", text=f"node {rank} ({host}) was lost: {reason}", node=rank))
        for stage in list(self._final & set(self._stages)):
            outbox += self._release(stage)
        return outbox


def _release_for(rank: int, release: Message, everyone: dict[str, Any], ruling: Ruling) -> Message:
    """The release with what is for one node alone; for most it is one and the same, which is then encoded once."""
    more: Message = {"all": everyone} if rank == 0 else {}
    more |= {"data": ruling.each[rank]} if rank in ruling.each else {}
    return release | more if more else release


def _is_visit(message: Message) -> bool:
    return str(message.get("run", "")).startswith(VISIT)


def _wrong_door(message: Message) -> str:
    """Why somebody who called another address of node 0's host is refused: ranks would look for the master there."""
    if not message.get("elsewhere"):
        return ""
    who = f"{_shown(message.get('hostname', 'a node'))} (NODE_RANK {_shown(repr(message.get('node_rank')))})"
    return (
        f"MASTER_ADDR differs: {who} called {message['elsewhere']}, which is another address of node 0's host than "
        "node 0 has; give one IP address of node 0 on every node"
    )


def abort(failure: Failure) -> Message:
    """What a node hears when the run is over by a failure."""
    return {"type": "abort", "failure": to_plain(failure)}


def ranges(ranks: Iterable[int]) -> str:
    """`0-3, 7`: long lists of ranks stay readable."""
    parts: list[list[int]] = []
    for rank in sorted(ranks):
        if parts and rank == parts[-1][-1] + 1:
            parts[-1][1:] = [rank]
        else:
            parts.append([rank])
    shown = [f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts[:_MOST_RANGES]]
    more = len(parts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") or "none"


def _shown(value: object) -> str:
    """What another process says of itself, as part of a line on a terminal: short, and without control characters."""
    text = value if isinstance(value, str) else repr(value)
    return "".join(c if c.isprintable() else "?" for c in text[:100])


def _as_rank(message: Message) -> int:
    rank = message.get("node_rank")
    return rank if isinstance(rank, int) and abs(rank) < 1 << 31 else -1
