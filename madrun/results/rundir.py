"""The run directory: the truth of a run. plan.json first, record.json last."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.errors import UsageError
from madrun.spec.codec import from_plain, to_json
from madrun.spec.plan import Plan, sealed
from madrun.spec.record import NodeOutcome, Record
from madrun.spec.validation import Invalid

RUNS = "runs"  # where below the results the run directories are
PLAN, RECORD = "plan.json", "record.json"
JOURNAL, STATUS, ENDED = "journal.jsonl", "status.json", "ended.json"
MARK = ".node-0"
# In the directory of a node: where each value came from, and which variables came to the script.
EXPLAINED, ENVIRONMENT = "context.json", "environment.json"


@dataclass(frozen=True, slots=True)
class RunDir:
    """`results/runs/<run id>/`."""

    path: Path

    @property
    def run_id(self) -> str:
        """Name of the run: UTC start, card, first letters of the job's hash, attempt."""
        return self.path.name

    def node(self, rank: int) -> Path:
        """The directory of one node."""
        return self.path / f"node-{rank}"

    def write_plan(self, plan: Plan) -> None:
        """Saves the plan as it is executed."""
        write_atomically(self.path / PLAN, to_json(sealed(plan)), durable=False)

    def keep_plan(self, plan: Plan) -> None:
        """Saves what one node knows of the plan, unless node 0's lies here: results may be shared or not."""
        try:
            with (self.path / PLAN).open("x", encoding="utf-8") as file:
                file.write(to_json(sealed(plan)))
        except FileExistsError:
            pass

    def write_record(self, record: Record) -> None:
        """Saves the record: from here on the run is finished."""
        write_atomically(self.path / RECORD, to_json(record))

    def mark(self) -> str:
        """Puts a token here that tells this directory from others of its name; the token."""
        token = secrets.token_hex(16)
        (self.path / MARK).write_text(token, encoding="ascii")
        return token

    def is_marked(self, token: str) -> bool:
        """Whether this is the directory of the node that gave out the token: results are shared."""
        try:
            return bool(token) and (self.path / MARK).read_text(encoding="utf-8", errors="replace") == token
        except OSError:
            return False

    def discard(self) -> None:
        """Removes a directory in which no run has begun."""
        (self.path / MARK).unlink(missing_ok=True)
        self.path.rmdir()

    def tell(self, outcomes: Iterable[NodeOutcome], offsets: Mapping[str, float | None]) -> None:
        """What was known of the nodes only in the end, for the journal: times of node 0's clock where they can be."""
        (self.path / MARK).unlink(missing_ok=True)
        for outcome in outcomes:
            offset = offsets.get(str(outcome.node)) or 0.0
            if outcome.started_at:
                began = outcome.started_at - offset
                self.journal("barrier", node=outcome.node, at=round(began, 3))
                ended = round(began + outcome.script_s, 3)
                self.journal("ended", node=outcome.node, at=ended, exit_code=outcome.exit_code)
            self.journal("collected", node=outcome.node, seconds=round(outcome.timings.get("deliver", 0.0), 3))

    def journal(self, event: str, **details: Any) -> None:
        """Appends one line to the journal: time in seconds since the epoch, event, details."""
        line = json.dumps({"at": round(time.time(), 3), "event": event, **details})
        with (self.path / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def create(results: Path, card: str, job_hash: str) -> RunDir:
    """A new run directory; runs that start in the same second get the next attempt number."""
    runs = results / RUNS
    try:
        runs.mkdir(parents=True, exist_ok=True)
        stem = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{card}-{job_hash[:6]}"
        attempt = 1
        while True:
            try:
                (runs / f"{stem}-{attempt}").mkdir()
            except FileExistsError:
                attempt += 1
                continue
            return RunDir(runs / f"{stem}-{attempt}")
    except OSError as error:
        raise UsageError(f"--results: {runs} cannot be written: {error.strerror}; name another directory") from None


def open_shared(results: Path, run_id: str) -> RunDir:
    """The directory of a run that node 0 named; made where this node does not share node 0's results."""
    path = results / RUNS / run_id
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--results: {path} cannot be written: {error.strerror}; name another directory") from None
    return RunDir(path)


def write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """The file is there whole or not at all, whenever the process ends; durable: also when the machine does."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary = Path(name)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A run directory whose record cannot be read, with the reason."""

    path: Path
    reason: str


def read_record(path: Path) -> Record | Unreadable | None:
    """The record of a run directory; None while it is unfinished."""
    file = path / RECORD
    try:
        return from_plain(Record, json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, Invalid) as error:
        return Unreadable(path, str(error).splitlines()[0][:200])


def run_paths(results: Path) -> Iterator[Path]:
    """Every run directory, oldest first."""
    runs = results / RUNS
    if runs.is_dir():
        yield from sorted(path for path in runs.iterdir() if path.is_dir())
