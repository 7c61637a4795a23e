"""`madrun report`: the rows of all runs, from the run directories."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from madrun.errors import ExitCode, UsageError
from madrun.report.frame import Filters, csv_text, frame_of, primary_rows, table_text
from madrun.results import perfcsv
from madrun.spec.codec import to_json

if TYPE_CHECKING:
    import pandas as pd

_WIDTH_OF_A_FILE = 200


def print_table(results: str, filters: Filters, as_json: bool, every_metric: bool) -> int:
    """Rebuilds perf.csv and prints a row for each run, or for each metric; unreadable records make the exit code 1."""
    frame, code = _frame(results, filters)
    if as_json:
        sys.stdout.write(to_json(frame.to_dict("records")))
        return code
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    shown = frame if every_metric else primary_rows(frame)
    sys.stdout.write(table_text(shown, width))
    further = len(frame) - len(shown)
    more = f", {further} further metrics with --all-metrics" if further else ""
    file = Path(results) / perfcsv.FILE_NAME
    place = os.path.relpath(file) if file.exists() else "madrun report csv"
    sys.stderr.write(f"{len(shown)} rows{more}; every column: {place}\n")
    return code


def write_csv(results: str, filters: Filters, output: str) -> int:
    """Writes the rows as CSV to a file or standard output."""
    frame, code = _frame(results, filters)
    text = csv_text(frame)
    if output == "-":
        sys.stdout.write(text)
    else:
        try:
            Path(output).write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--output: {output} cannot be written: {error.strerror}") from None
        sys.stderr.write(f"{len(frame)} rows to {output}\n")
    return code


def write_html(file: str, output: str | None) -> int:
    """Writes any CSV of results as one HTML page; `UsageError` where it is none or the page cannot be written."""
    import csv

    from madrun.report.page import html_text

    source = Path(file)
    target = Path(output) if output else source.with_suffix(".html")
    if target == source:
        raise UsageError(f"--csv-file-path: {file} would be overwritten by its own page; name another --output")
    try:
        rows = perfcsv.read(source)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--csv-file-path: {file} cannot be read: {why}") from None
    if not rows:
        raise UsageError(f"--csv-file-path: {file} holds no rows; allowed: a CSV with a header and at least one row")
    try:
        target.write_text(html_text(rows, source.name), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {target} cannot be written: {error.strerror}") from None
    sys.stderr.write(f"{len(rows)} rows to {target}\n")
    return int(ExitCode.OK)


def _frame(results: str, filters: Filters) -> tuple[pd.DataFrame, int]:
    folder = Path(results)
    if not (folder / "runs").is_dir():
        raise UsageError(f"--results: {folder} holds no runs; run something first, or name the directory")
    found = _rows(folder)
    for broken in found.unreadable:
        sys.stderr.write(f"madrun: error: {broken.path}/record.json cannot be read: {broken.reason}\n")
    for path in found.unfinished:
        sys.stderr.write(f"madrun: unfinished ({_why_unfinished(path)}): {os.path.relpath(path)}\n")
    frame = frame_of(found.rows, filters, datetime.now(timezone.utc))
    return frame, int(ExitCode.INTERNAL if found.unreadable else ExitCode.OK)


def _why_unfinished(path: Path) -> str:
    """What a run without a record is at: it may go on, or its madrun was killed."""
    from madrun.node.seeing.going import going
    from madrun.results.survey import look

    if going(look(path, with_record=False)) == "running":
        return "it goes on"
    return f"no record, and no living agent: madrun status {path.name}"


def _rows(folder: Path) -> perfcsv.Scan:
    """What the records say; a perf.csv that cannot be rewritten, as in somebody else's directory, is only named."""
    try:
        return perfcsv.rebuild(folder)
    except OSError as error:
        place = os.path.relpath(folder / perfcsv.FILE_NAME)
        culprit = f" ({os.path.relpath(error.filename)})" if error.filename else ""
        sys.stderr.write(
            f"madrun: {place} could not be rewritten: {error.strerror}{culprit}; the rows are those of the records\n"
        )
    try:
        return perfcsv.scan(folder)
    except OSError as error:
        raise UsageError(f"--results: {error.filename or folder} cannot be read: {error.strerror}") from None
