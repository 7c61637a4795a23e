"""results/perf.csv: derived from the records, one row a metric. Appended under a lock, rebuilt at will.

The first 29 columns are those of MAD in its order; madrun's own follow, then what `multiple_results` files add.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from madrun.locks import locked
from madrun.results.relative import Changes
from madrun.results.rundir import RunDir, Unreadable, read_record, run_paths, write_atomically
from madrun.spec.record import MetricResult, Record

FILE_NAME = "perf.csv"
LOCK = ".perf.csv.lock"
MAD_COLUMNS = [
    "model",
    "n_gpus",
    "nnodes",
    "gpus_per_node",
    "training_precision",
    "pipeline",
    "args",
    "tags",
    "docker_file",
    "base_docker",
    "docker_sha",
    "docker_image",
    "git_commit",
    "machine_name",
    "deployment_type",
    "launcher",
    "gpu_architecture",
    "performance",
    "metric",
    "relative_change",
    "status",
    "build_duration",
    "test_duration",
    "dataname",
    "data_provider_type",
    "data_size",
    "data_download_duration",
    "build_number",
    "additional_docker_run_options",
]
OWN_COLUMNS = ["unit", "primary", "valid", "reasons", "exit_code", "runtime", "started_at", "run_id", "plan_hash"]
OWN_COLUMNS += ["madrun", "repeats"]
COLUMNS = [*MAD_COLUMNS, *OWN_COLUMNS]
Row = dict[str, str]


def rows_of(record: Record) -> list[Row]:
    """One row for each metric; a run that may not be believed has one row for each metric without its number."""
    metrics: Iterable[MetricResult | None] = record.metrics or (None,)
    return [_row(record, metric) for metric in metrics]


def _row(record: Record, metric: MetricResult | None) -> Row:
    facts = record.provenance
    stands = record.valid or (record.partial and metric is not None and not metric.missing)
    script_s = max((node.script_s for node in record.nodes), default=0.0)
    row = dict.fromkeys(COLUMNS, "")
    row |= {name: facts[name] for name in MAD_COLUMNS if name in facts}
    row |= {
        "model": f"{record.card}_{metric.model}" if metric and metric.model else record.card,
        "n_gpus": str(record.nnodes * record.nproc_per_node),
        "nnodes": str(record.nnodes),
        "gpus_per_node": str(record.nproc_per_node),
        "args": record.args,
        "tags": ",".join(record.tags),
        "deployment_type": record.backend,
        "launcher": facts.get("launcher") or record.runner,
        "status": "SUCCESS" if stands else record.status,
        "build_duration": f"{max((node.build_s for node in record.nodes), default=0.0):.3f}",
        "test_duration": f"{script_s:.3f}",
        "valid": str(stands).lower(),
        "reasons": "" if stands else metric.missing if metric and metric.missing else "; ".join(record.reasons),
        "exit_code": str(record.exit_code),
        "runtime": record.runtime,
        "started_at": record.started_at,
        "run_id": record.run_id,
        "plan_hash": record.plan_hash,
        "madrun": record.madrun,
        "repeats": facts.get("repeats", ""),
    }
    if metric:
        row |= {"metric": metric.metric, "unit": metric.unit, "primary": str(metric.primary).lower()}
        row["performance"] = metric.text if stands else ""
        row |= {name: value for name, value in metric.extra.items() if name not in row}
    # One line a row: a row that was cut by a kill can then be told from a whole one.
    return {name: " ".join(value.splitlines()) for name, value in row.items()}


def append(results: Path, run: RunDir, record: Record) -> None:
    """Adds the rows of a record that has just been written, and those of runs that were killed before their turn.

    A marker in results/pending stands for rows that are still to come; it is made before the record.
    """
    with locked(results / LOCK):
        pending = _pending(results)
        if run.run_id not in pending:
            return  # another run has added these rows meanwhile
        try:
            rows = _with_pending(results, pending - {run.run_id}, rows_of(record))
            _compare(results / FILE_NAME, rows or [])
        except (csv.Error, UnicodeDecodeError):
            rows = None  # the file is no longer the CSV that was written; the records are the truth
        if rows is None:
            rebuild(results, held=True)
        else:
            _append_rows(results, rows)
        unmark(results, run.run_id)


def _compare(file: Path, rows: list[Row]) -> None:
    """Fills in how the rows differ from what the file has of the same models."""
    changes = Changes(COLUMNS)
    for model in dict.fromkeys(row["model"] for row in rows):
        changes.learn(row for row in rows_with(file, model) if row.get("model") == model)
    changes.fill(rows)


def rows_with(file: Path, text: str) -> Iterator[Row]:
    """The rows of a perf.csv of ours in which the text stands; the others, which may be many, are not taken apart."""
    if not file.exists():
        return
    csv.field_size_limit(sys.maxsize)
    sought = text.encode() if '"' not in text else b""
    with file.open("rb") as source:
        lines = (
            line.decode() for line in itertools.chain([source.readline()], (one for one in source if sought in one))
        )
        for row in csv.DictReader(lines):
            yield {name: value or "" for name, value in row.items() if name}


def _with_pending(results: Path, others: set[str], rows: list[Row]) -> list[Row] | None:
    """The rows, after those of runs that were killed before their turn; None where some of these are cut."""
    torn = False
    for name in sorted(others):
        other = read_record(results / "runs" / name)
        if isinstance(other, Record):
            theirs = rows_of(other)
            there = _count(results / FILE_NAME, name)
            rows = [*theirs, *rows] if not there else rows
            torn = torn or 0 < there < len(theirs)
        if other is not None:
            unmark(results, name)
    return None if torn else rows


def mark(results: Path, run_id: str) -> None:
    """Says that rows of this run are to come."""
    folder = results / "pending"
    folder.mkdir(exist_ok=True)
    (folder / run_id).touch()


def unmark(results: Path, run_id: str) -> None:
    """Takes the marker away."""
    (results / "pending" / run_id).unlink(missing_ok=True)


def _pending(results: Path) -> set[str]:
    folder = results / "pending"
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _count(file: Path, run_id: str) -> int:
    """How many rows of the run the file has."""
    return sum(row.get("run_id") == run_id for row in read(file)) if file.exists() else 0


def _append_rows(results: Path, rows: list[Row]) -> None:
    file = results / FILE_NAME
    header = _header(file)
    torn = header is not None and not _ends_whole(file)
    if header is None or torn or any(name not in header for row in rows for name in row):
        rebuild(results, held=True)
        return
    text = io.StringIO()
    csv.DictWriter(text, header, restval="", lineterminator="\n").writerows(rows)
    with file.open("a", encoding="utf-8", newline="") as target:
        target.write(text.getvalue())
        target.flush()
        os.fsync(target.fileno())


def _header(file: Path) -> list[str] | None:
    """The columns of the file; None where there is none, or none that can be read."""
    try:
        with file.open(newline="", encoding="utf-8") as source:
            return next(csv.reader(source), None)
    except (FileNotFoundError, UnicodeDecodeError, csv.Error):
        return None


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as source:
        source.seek(0, os.SEEK_END)
        if not source.tell():
            return False
        source.seek(-1, os.SEEK_END)
        return source.read(1) == b"\n"


def read(file: Path) -> list[Row]:
    """Every row of a perf.csv by column name; values are text and stay as written."""
    csv.field_size_limit(sys.maxsize)  # the module's own limit, 128 KiB, is less than a cell of ours may hold
    with file.open(newline="", encoding="utf-8") as source:
        return [{name: value or "" for name, value in row.items() if name} for row in csv.DictReader(source)]


@dataclass(frozen=True, slots=True)
class Scan:
    """What the run directories say: rows, the records that cannot be read, the unfinished runs."""

    rows: list[Row]
    unreadable: list[Unreadable]
    unfinished: list[Path]
    finished: list[str]


def scan(results: Path) -> Scan:
    """Reads every record and writes nothing."""
    found = Scan([], [], [], [])
    by_end: list[tuple[str, str, list[Row]]] = []
    for path in run_paths(results):
        record = read_record(path)
        if isinstance(record, Record):
            rows = rows_of(record)
            found.rows.extend(rows)
            by_end.append((record.ended_at, path.name, rows))
            found.finished.append(path.name)
        elif record is None:
            found.unfinished.append(path)
        else:
            found.unreadable.append(record)
    changes = Changes(COLUMNS)
    for _, _, rows in sorted(by_end, key=lambda item: item[:2]):
        changes.fill(rows)
    return found


def rebuild(results: Path, held: bool = False) -> Scan:
    """Writes perf.csv anew from the records; what was found in them."""
    if not held:
        with locked(results / LOCK):
            return rebuild(results, held=True)
    found = scan(results)
    extra = list(dict.fromkeys(name for row in found.rows for name in row if name not in COLUMNS))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *extra], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(found.rows)
    if results.is_dir():
        write_atomically(results / FILE_NAME, text.getvalue())
    for name in found.finished:
        unmark(results, name)
    return found
