"""Samples out of what a script printed or wrote.

The pattern of the `performance:` line is the one that existing model repositories rely on (MAD); here it also
sees `nan` and `inf`, so that a script which prints them is told so instead of "no metric".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from madrun.spec.record import Sample

NUMBER = r"[+\-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+\-]?[0-9]+)?|(?i:nan|inf(?:inity)?))"
LINE = re.compile(rf"performance:\s+({NUMBER})(?:,?\s*/[a-zA-Z]+\s*,?|,)?\s+([^\s,]+)")
MARK = "performance:"
REQUIRED = ("model", "performance", "metric")
_LONGEST_LINE = 1 << 16


def parse_line(line: str) -> tuple[str, str] | None:
    """(number as printed, metric) of a `performance:` line; None where the line is none."""
    match = LINE.search(line)
    return (match[1], match[2]) if match else None


def samples_of_log(path: Path, node: int) -> list[Sample]:
    """Every `performance:` line of a console log in order; the log is read line by line, however long it is."""
    found = []
    for number, line in _marked_lines(path):
        parsed = parse_line(line)
        if parsed:
            text, metric = parsed
            found.append(
                Sample(node=node, metric=metric, value=float(text), text=text, source=f"{path.name}:{number}")
            )
    return found


def _marked_lines(path: Path) -> Iterator[tuple[int, str]]:
    mark = MARK.encode()
    with path.open("rb") as log:
        for number, line in enumerate(log, 1):
            if mark in line:
                yield number, line[:_LONGEST_LINE].decode("utf-8", "replace")


def samples_of_csv(path: Path, node: int) -> tuple[list[Sample], list[str]]:
    """Rows of a `multiple_results` CSV, and what is wrong with it. Every text stays as it is written."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return [], [f"{path.name} cannot be read: {error}"]
    header = [name.strip() for name in rows[0]] if rows else []
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        return [], [f"{path.name}: column {', '.join(missing)} is missing; found: {', '.join(header) or 'nothing'}"]
    samples, problems = [], []
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        sample, problem = _row_sample(header, row, node, f"{path.name}:{number}")
        samples += [sample] if sample else []
        problems += [problem] if problem else []
    return samples, problems


def _row_sample(header: list[str], row: list[str], node: int, source: str) -> tuple[Sample | None, str]:
    if len(row) != len(header):
        return None, f"{source}: {len(row)} cells under {len(header)} columns"
    cells = dict(zip(header, row, strict=True))
    text = cells["performance"].strip()
    if not re.fullmatch(NUMBER, text):
        return None, f"{source}: performance: found {text!r}, allowed: a number"
    extra = {name: value for name, value in cells.items() if name not in REQUIRED}
    sample = Sample(
        node=node,
        metric=cells["metric"].strip(),
        value=float(text),
        text=text,
        source=source,
        model=cells["model"].strip(),
        extra=extra,
    )
    return sample, ""


def repeated(samples: Iterable[Sample]) -> list[str]:
    """Findings for metrics that one node printed several times with different values: the last one counts."""
    seen: dict[tuple[int, str], list[str]] = {}
    for sample in samples:
        if not sample.model:
            seen.setdefault((sample.node, sample.metric), []).append(sample.text)
    return [
        f"node {node} printed {metric} {len(texts)} times with different values; the last, {texts[-1]}, counts"
        for (node, metric), texts in seen.items()
        if len(set(texts)) > 1
    ]
