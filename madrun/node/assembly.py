"""The nodes of a run as a state machine: messages in, messages out; no socket, no clock.

A *stage* is a point that every node reaches with a payload; when the last one has come, a judge looks at all
payloads and either releases everyone or ends the run with a reason. A *final* stage is reached also after a
failure, by every node that is still there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from madrun.node.protocol import VERSION, Message
from madrun.spec.codec import to_plain
from madrun.spec.record import Failure

Payloads = dict[int, Any]
Outbox = list[tuple[int, Message]]


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
        """The newcomer's rank, or None with the reason for which it is refused; and what to tell the others."""
        reason = self._refusal(message)
        if not reason:
            rank = int(message["node_rank"])
            self.members[rank] = message
            return rank, "", self._waiting()
        if self._closed or message.get("protocol") != VERSION:
            return None, reason, []
        return None, reason, self.fail(Failure(kind="join refused", text=reason, node=_as_rank(message)))

    def _refusal(self, message: Message) -> str:
        who = str(message.get("hostname", "a node"))[:100]
        if message.get("protocol") != VERSION:
            return f"{who} speaks protocol {message.get('protocol')!r}, node 0 speaks {VERSION}: install one madrun"
        rank = message.get("node_rank")
        if message.get("nnodes") != self.nnodes:
            return f"NNODES differs: {message.get('nnodes')!r} on {who} (NODE_RANK {rank!r}), {self.nnodes} on node 0"
        if not isinstance(rank, int) or not 0 <= rank < self.nnodes:
            return f"NODE_RANK {rank!r} on {who} is out of range; allowed: 0 to {self.nnodes - 1}"
        if rank in self.members:
            return f"NODE_RANK {rank} is given twice: on {self.members[rank].get('hostname')} and on {who}"
        return ""

    def _waiting(self) -> Outbox:
        joined = sorted(self.members)
        self._closed = not self.missing
        return [(rank, {"type": "waiting", "joined": joined, "missing": self.missing}) for rank in joined]

    def reach(self, rank: int, stage: str, payload: Any, final: bool) -> Outbox:
        """A node has come to a stage; the release once all have, or the failure that stands against it."""
        if self.failure is not None and not final:
            return [(rank, _abort(self.failure))]
        self._stages.setdefault(stage, {})[rank] = payload
        if final:
            self._final.add(stage)
        return self._release(stage)

    def _release(self, stage: str) -> Outbox:
        payloads = self._stages[stage]
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
        return [(rank, release | _more(rank, everyone, ruling)) for rank in sorted(expected)]

    def fail(self, failure: Failure) -> Outbox:
        """The first failure wins; everyone hears of it."""
        if self.failure is not None:
            return []
        self.failure = failure
        return [(rank, _abort(failure)) for rank in sorted(set(self.members) - self._gone)]

    def lost(self, rank: int, reason: str) -> Outbox:
        """A node's connection has ended or gone silent."""
        if rank in self._gone:
            return []
        self._gone.add(rank)
        host = self.members.get(rank, {}).get("hostname", "?")
        outbox = self.fail(Failure(kind="node lost", text=f"node {rank} ({host}) was lost: {reason}", node=rank))
        for stage in list(self._final & set(self._stages)):
            outbox += self._release(stage)
        return outbox


def _more(rank: int, everyone: dict[str, Any], ruling: Ruling) -> Message:
    """What the release holds for one node alone."""
    more: Message = {"all": everyone} if rank == 0 else {}
    return more | ({"data": ruling.each[rank]} if rank in ruling.each else {})


def _abort(failure: Failure) -> Message:
    return {"type": "abort", "failure": to_plain(failure)}


def _as_rank(message: Message) -> int:
    rank = message.get("node_rank")
    return rank if isinstance(rank, int) else -1
