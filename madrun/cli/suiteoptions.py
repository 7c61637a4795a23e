"""The options of suites and sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

Sweep = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="KEY=VALUES",
        help="One case for each value: nnodes=1,2,4 or model_args='--bs 1,--bs 2'. Repeatable: all combinations.",
    ),
]

Array = Annotated[
    bool, typer.Option("--array", help="Of cases with --on slurm: a task of one array for each, instead of one job.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """What is to be done with a suite: it is begun, unless one of these says otherwise."""

    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a suite at its first case that has not ended; the last one.")
    ] = False
    rerun: Annotated[
        list[str] | None,
        typer.Option(
            "--rerun", metavar="STATUS", help="Only its cases that are failed, invalid or skipped. Repeatable."
        ),
    ] = None
    status: Annotated[bool, typer.Option("--status", help="Show how far it has come; run nothing.")] = False
    array: Array = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the command of each case and run nothing.")] = False

    @property
    def again(self) -> tuple[str, ...]:
        """The statuses of which cases are run again; they may be typed with commas too."""
        return tuple(word.strip() for text in self.rerun or () for word in text.split(",") if word.strip())

    @property
    def of_old(self) -> bool:
        """Whether it is about a suite that has been begun before."""
        return self.resume or self.status or bool(self.rerun)
