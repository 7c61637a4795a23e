"""How far a launch has come, as its backend sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LaunchPhase = Literal["preparing", "pending", "running", "ended", "lost"]


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node of a launch; `state` in a word or a line, as the backend has it."""

    rank: int
    host: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchState:
    """`reason`: why it waits, or how it ended, in words. `exit_code` is that of the command, once it has ended.

    `left`: `HOST:PATH` of what stayed on its nodes and is not here.
    """

    phase: LaunchPhase
    reason: str = ""
    exit_code: int | None = None
    nodes: tuple[NodeState, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Of which node, from which line on, and whether to go on until the launch has ended."""

    node: int = 0
    lines: int | None = None
    follow: bool = False
