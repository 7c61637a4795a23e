"""Samples out of a `multiple_results` CSV. Every text stays as it is written."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from madrun.results.perfcsv import COLUMNS
from madrun.results.regular import NotRegular, open_regular
from madrun.results.samples import NUMBER, Few, Reading, Tally
from madrun.spec.record import Sample

REQUIRED = ("model", "performance", "metric")
_LARGEST = 64 << 20


def samples_of_csv(path: Path, node: int, lenient: bool = False) -> Reading:
    """Rows of a `multiple_results` CSV, and what is wrong with it.

    `lenient`, for MAD cards: a row without a number stands for itself alone, and rows that nothing tells apart are
    numbered.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _LARGEST:
                return Reading(findings=(f"{path.name} has {size} bytes, allowed: at most {_LARGEST}",))
            with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
                found = _read(path.name, csv.reader(text), node, lenient)
            if found.samples or found.findings:
                return found
            return replace(found, notes=(*found.notes, f"{path.name} has a header and no row under it"))
    except NotRegular as error:
        return Reading(findings=(f"multiple_results: {error}",))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return Reading(findings=(f"{path.name} cannot be read: {error}",))


def _read(name: str, rows: Iterable[list[str]], node: int, lenient: bool) -> Reading:
    lines = iter(rows)
    header = [cell.strip() for cell in next(lines, [])]
    wrong = _wrong_header(name, header)
    if wrong:
        return Reading(findings=(wrong,))
    columns, notes = _columns(name, header)
    if lenient:
        from madrun.results.mad import rows as mad

        return mad.read(name, _each(name, columns, lines, node), node, notes)
    tally, findings = Tally(), Few(name)
    for number, row in enumerate(lines, 2):
        if not any(cell.strip() for cell in row):
            continue
        source = f"{name}:{number}"
        sample, problem = row_sample(columns, row, node, source)
        if sample is not None and sample in tally:
            said = " ".join(filter(None, (sample.model, sample.metric)))
            problem = f"{source}: {said} is there a second time, allowed: one row for model, metric and further cells"
        if problem:
            findings.add(problem)
        elif sample is not None:
            tally.add(sample)
    return tally.reading(name, findings.all(), notes)


def _each(
    name: str, columns: list[str], rows: Iterable[list[str]], node: int
) -> Iterator[tuple[str, dict[str, str], Sample | None, str]]:
    """Place, cells, sample and problem of each row that is not empty; without cells where these are too many or few."""
    for number, row in enumerate(rows, 2):
        if any(cell.strip() for cell in row):
            place = f"{name}:{number}"
            fits = len(row) == len(columns)
            cells = {column: cell for column, cell in zip(columns, row, strict=False) if column and fits}
            yield place, cells, *row_sample(columns, row, node, place)


def _wrong_header(name: str, header: list[str]) -> str:
    missing = [column for column in REQUIRED if column not in header]
    if missing:
        return f"{name}: column {', '.join(missing)} is missing; found: {', '.join(header) or 'nothing'}"
    twice = [column for column, times in Counter(filter(None, header)).items() if times > 1]
    return f"{name}: column {', '.join(twice)} is there more than once" if twice else ""


def _columns(name: str, header: list[str]) -> tuple[list[str], list[str]]:
    """The names under which cells are kept, and notes on those that had to change; an empty one is left out."""
    columns, notes = [], []
    for place, column in enumerate(header, 1):
        kept = column
        if not column:
            notes.append(f"{name}: column {place} has no name and is left out")
        elif column in COLUMNS and column not in REQUIRED:
            while kept in header or kept in columns:
                kept = f"csv_{kept}"
            if column != "unit":  # it fills perf.csv's own where the card declares none
                notes.append(f"{name}: column {column} is one of perf.csv's own and is kept as {kept}")
        columns.append(kept)
    return columns, notes


def row_sample(columns: list[str], row: list[str], node: int, source: str) -> tuple[Sample | None, str]:
    """What the row says, or why it says nothing."""
    if len(row) != len(columns):
        return None, f"{source}: {len(row)} cells under {len(columns)} columns"
    cells = {column: cell for column, cell in zip(columns, row, strict=True) if column}
    text, metric = cells["performance"].strip(), cells["metric"].strip()
    if not re.fullmatch(NUMBER, text):
        shown = repr(text[:80])
        return None, f"{source}: performance: found {shown}, allowed: a number"
    if not metric:
        return None, f"{source}: metric is empty, allowed: a name"
    extra = {column: cell for column, cell in cells.items() if column not in REQUIRED}
    model = cells["model"].strip()
    sample = Sample(node=node, metric=metric, value=float(text), text=text, source=source, model=model, extra=extra)
    return sample, ""
