"""One run on several nodes of the test bed: its cards, its start on each node, and what is left of it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from e2e_parts import until
from three_nodes import JOB_IMAGE, Node, Started

_PORTS = itertools.count(29600, 10)


@dataclass
class Bed:
    """`nodes` as the hosts of one run; `mark` is a word on the command line of every stubborn child.

    Of several runs at a time `card` says which one is looked at.
    """

    nodes: list[Node]
    mark: str
    runtime: str = "docker"
    card: str = ""
    multi: dict[str, Any] = field(default_factory=dict)  # further multi_node_args of every node

    def add(self, name: str, text: str, /, **card: Any) -> None:
        """The same card on every node."""
        data = {"name": name, "script": "run.sh", "images": {"cpu": {"image": JOB_IMAGE}}} | card
        for node in self.nodes:
            home = node.folder / "models" / name
            home.mkdir(parents=True, exist_ok=True)
            (home / "model.yaml").write_text(yaml.safe_dump(data))
            (home / "run.sh").write_text(text.replace("MARK", self.mark))

    def start(self, card: str, *words: str, context: Any = None, terminal: bool = False) -> list[Started]:
        """`madrun run` of the card on every node, on ports that no other run has."""
        port = next(_PORTS)
        return [self.join(node.number, (card, port), *words, context=context, terminal=terminal) for node in self.nodes]

    def join(
        self, rank: int, what: tuple[str, int], *words: str, context: Any = None, terminal: bool = False
    ) -> Started:
        """`madrun run` of a card with this MASTER_PORT on one node."""
        card, port = what
        ranks = [node.number for node in self.nodes]
        multi = {
            "MASTER_ADDR": self.nodes[0].address,
            "MASTER_PORT": port,
            "NNODES": len(ranks),
            "NODE_RANK": ranks.index(rank),
        } | self.multi
        more = {"multi_node_args": multi, "grace": "1s", "memlock": "default", "nofile": None} | (context or {})
        node = next(node for node in self.nodes if node.number == rank)
        return node.start("run", "--tags", card, "--runtime", self.runtime, "-c", str(more), *words, terminal=terminal)

    def until_running(self, count: int | None = None, seconds: float = 120, started: Sequence[Started] = ()) -> None:
        """Returns when the stubborn children of all nodes run."""

        def stands() -> bool:
            running = sum(bool(node.processes(self.mark)) for node in self.nodes)
            ended = [one for one in started if one.child.poll() is not None]
            assert not ended, [one.output for one in ended]
            return running == (count or len(self.nodes))

        until(stands, seconds, "the stubborn children")

    def left(self, besides: Sequence[str] = ()) -> list[str]:
        """What there still is of any run on any node that has power: processes, and containers in no such state."""
        found = []
        for node in self.nodes:
            ours = [one for one in node.containers() if "madrun.run" in one["Labels"] and one["State"] not in besides]
            names = [f"{one['Names'][0]} ({one['State']})" for one in ours]
            found += [f"node {node.number}: {name}" for name in (*names, *map(str, node.processes(self.mark)))]
        return found

    def gone(self, within: float, what: str, since: float, besides: Sequence[str] = ()) -> float:
        """Seconds until nothing was left, counted from `since`; fails beyond the bound."""
        while (left := self.left(besides)) and time.monotonic() - since < within:
            time.sleep(0.02)
        seconds = time.monotonic() - since
        assert not left, f"{what}: after {seconds:.1f} s there is still {left}"
        return seconds

    def runs(self, rank: int) -> list[Path]:
        """Run directories on that node."""
        return sorted((self.nodes[rank].folder / "results/runs").glob("*"))

    def codes(self, started: Sequence[Started], seconds: float = 120) -> list[int]:
        """Exit codes of all; where one does not end, what all of them have said."""
        try:
            return [one.wait(seconds) for one in started]
        except AssertionError:
            said = "\n".join(f"--- node {one.node.number}\n{one.output}" for one in started)
            raise AssertionError(f"not all have ended:\n{said}") from None

    def record(self, rank: int = 0) -> dict[str, Any]:
        """The newest record on that node."""
        paths = sorted(self.nodes[rank].folder.glob("results/runs/*/record.json"))
        return dict(json.loads(paths[-1].read_text()))

    def run_dir(self, rank: int) -> Path:
        """The newest run directory on that node."""
        return sorted((self.nodes[rank].folder / "results/runs").glob(f"*-{self.card}*"))[-1]

    def steps(self, rank: int) -> str:
        """What the driver of the newest run on that node has reported."""
        found = (
            [self.run_dir(rank) / f"node-{rank}" / name for name in ("box/steps", "steps.log")]
            if self.runs(rank)
            else []
        )
        return "".join(path.read_text() for path in found if path.exists())

    def clean(self) -> None:
        """Leaves the nodes as they were found."""
        for node in self.nodes:
            node.clean()
