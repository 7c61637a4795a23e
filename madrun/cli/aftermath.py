"""What a command leaves for programs: its JSON document, and the summary that --summary-output names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from madrun.cli.leftout import Written
from madrun.cli.outputs import rows_of_run
from madrun.cli.request import Request
from madrun.cli.summary import Finished, document
from madrun.errors import ExitCode, UsageError
from madrun.results.perfcsv import Row
from madrun.results.rundir import write_atomically
from madrun.spec.codec import to_json


@dataclass(slots=True)
class Story:
    """What has come of a command so far: how long its beginnings took, runs that ended, cards that were left out."""

    before: dict[str, float] = field(default_factory=dict)
    finished: list[Finished] = field(default_factory=list)
    left_out: list[Written] = field(default_factory=list)
    request: Request | None = None

    @property
    def statuses(self) -> list[str]:
        """Of every selected card and repetition that has come to its end."""
        return [*(one.left_out.status for one in self.left_out), *(run.status for run in self.finished)]

    def document(self, code: int, error: str) -> dict[str, Any]:
        """What `run --json` prints."""
        return document(self.finished, code, self.before, error, self.left_out)


_SEVERITY = (
    ExitCode.INTERNAL,
    ExitCode.INTERRUPTED,
    ExitCode.RUN_FAILED,
    ExitCode.BAD_CONTEXT,
    ExitCode.USAGE,
)


def worst(codes: Sequence[int]) -> int:
    """The exit code of a command, from those of its cards."""
    return next((int(code) for code in _SEVERITY if code in codes), max(codes, default=0))


def check_summary(request: Request) -> None:
    """`UsageError` where the summary could not be written in the end."""
    wanted = request.files.summary_output
    if wanted is None:
        return
    file = Path(wanted).expanduser()
    if not file.parent.is_dir() or file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"--summary-output: {wanted} cannot be written; name a file in a directory of yours")


def write_summary(story: Story, code: int, error: str) -> str:
    """Writes it where it was asked for; what went wrong, else empty."""
    request = story.request
    if request is None or request.files.summary_output is None:
        return ""
    try:
        write_atomically(Path(request.files.summary_output).expanduser(), to_json(summary_of(story, code, error)))
    except OSError as failure:
        if error.startswith("--summary-output:"):
            return ""  # it was said before anything ran
        return f"--summary-output: {request.files.summary_output} could not be written: {failure.strerror}"
    return ""


def summary_of(story: Story, code: int, error: str) -> dict[str, Any]:
    """Cards by what became of them, how long they took, and their rows."""
    groups: dict[str, list[dict[str, Any]]] = {"SUCCESS": [], "FAILURE": [], "SKIPPED": []}
    rows: list[Row] = []
    assert story.request is not None
    for left in story.left_out:
        one = left.left_out
        run_id = left.run.run_id if left.run else ""
        groups[one.status].append({"card": one.name, "run_id": run_id, "seconds": 0.0, "reasons": [one.reason]})
        rows += rows_of_run(story.request.results, left.run, left.record) if left.run and left.record else []
    for run in story.finished:
        ended = run.ended
        groups[run.status].append(
            {
                "card": run.card,
                "run_id": ended.run.run_id,
                "seconds": round(ended.outcome.script_s, 3),
                "build_seconds": round(ended.outcome.build_s, 3),
                "reasons": list(ended.reasons),
            }
        )
        rows += rows_of_run(story.request.results, ended.run, ended.record) if ended.record else []
    return {
        "exit_code": code,
        "error": error,
        "successful": groups["SUCCESS"],
        "failed": groups["FAILURE"],
        "skipped": groups["SKIPPED"],
        "seconds": round(sum(run.ended.outcome.script_s for run in story.finished), 3),
        "rows": rows,
    }
