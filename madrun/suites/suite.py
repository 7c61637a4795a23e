"""A suite as it is frozen before its first case begins: what each case is, to the letter."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Any

from madrun.errors import UsageError
from madrun.spec.codec import sha256

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One `madrun run`: `words` are all of it but those that say on which nodes. Names are unique in a suite.

    `nnodes`: how many nodes it was given, None where nothing was said.
    """

    name: str
    words: tuple[str, ...]
    nnodes: int | None = None

    @property
    def hash(self) -> str:
        """Equal where name, words and number of nodes are."""
        return sha256([self.name, list(self.words), self.nnodes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """All cases in their order, and where and by what they are started.

    `backend` is empty where each case is run on this node alone; `launch`: the options of a launch by name, without
    those that say which nodes. `hosts`: those that a case may be given, where the backend is told them; `exclude`:
    those that no case may have. `source`: the file it was read from, empty for one that was typed. `retry_bad_node`:
    how often a case that failed for a bad node is tried once more on others. `hashes`: of the cases, in their order.
    """

    id: str
    name: str
    cases: tuple[Case, ...]
    hashes: tuple[str, ...]
    cwd: str
    results: str
    command: tuple[str, ...]
    madrun: str
    source: str = ""
    backend: str = ""
    launch: dict[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    exclude: str = ""
    retry_bad_node: int = 1
    format: int = FORMAT

    @property
    def largest(self) -> int:
        """Nodes of the largest case."""
        return max((case.nnodes or 1 for case in self.cases), default=1)


def tag_of(suite: Suite, case: Case, number: int) -> str:
    """What the records of one attempt say of it."""
    return f"{suite.id}/{case.name}/{number}"


def check_frozen(suite: Suite, place: str) -> Suite:
    """The suite; `UsageError` where its file says other cases than were frozen there."""
    if suite.format != FORMAT:
        raise UsageError(f"{place}: found format {suite.format}, allowed: {FORMAT}; another madrun has written it")
    if tuple(case.hash for case in suite.cases) != suite.hashes:
        raise UsageError(f"{place}: the cases are not those that were frozen there; restore the file or begin anew")
    return suite


def new_cases(frozen: Suite, cases: tuple[Case, ...], source: str) -> tuple[Case, ...]:
    """The cases that the suite lacks; `UsageError` says what differs where one of its own is changed or gone."""
    now = {case.name: case for case in cases}
    texts = []
    for case in frozen.cases:
        other = now.get(case.name)
        if other is None:
            texts.append(f"  {case.name}: is gone")
        elif other.hash != case.hash:
            texts.append(f"  {case.name}: was {_shown(case)}\n  {' ' * len(case.name)}   is {_shown(other)}")
    if texts:
        raise UsageError(
            f"{source}: its cases are not those of {frozen.id}; allowed with --resume: the same cases, and new ones "
            "beside them. Take the change back, or begin anew without --resume\n" + "\n".join(texts)
        )
    known = {case.name for case in frozen.cases}
    return tuple(case for case in cases if case.name not in known)


def _shown(case: Case) -> str:
    nodes = f" ({case.nnodes} node{'' if case.nnodes == 1 else 's'})" if case.nnodes else ""
    return f"{shlex.join(case.words)}{nodes}"
