"""Programs that start the ranks of a node. A new runner is one file and one line in this table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from madrun.runners import plain, script, torchrun
from madrun.spec.topology import Topology


@dataclass(frozen=True, slots=True)
class Runner:
    """`command`: the text in front of the script; `env`: what the runner itself leaves to be set.

    `starter`: the variable that names the program by which the runner starts each rank; empty where it has none.
    """

    command: Callable[[Topology], str]
    env: Callable[[Topology], dict[str, str]]
    starter: str = ""


RUNNERS: dict[str, Runner] = {
    "torchrun": Runner(torchrun.command, torchrun.env, torchrun.STARTER),
    "plain": Runner(plain.command, plain.env),
    "script": Runner(script.command, script.env),
}
