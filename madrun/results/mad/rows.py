"""Rows of a MAD card's `multiple_results`: one without a number speaks for itself alone, and none is dropped."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from madrun.results.samples import Few, Key, Reading, Tally, key_of
from madrun.spec.record import Sample

SAME_NAME = "same_name"  # the column that numbers rows which nothing else tells apart
_MOST = 5  # named


def read(
    name: str, rows: Iterable[tuple[str, dict[str, str], Sample | None, str]], node: int, notes: list[str]
) -> Reading:
    """What the rows hold; each comes with its place, its cells, its sample and what is wrong with it.

    A row that names a metric and has no number is kept as such. Rows of one model, metric and further cells are all
    kept too, numbered in the column `same_name`, and noted: which is which is not known.
    """
    found: list[Sample] = []
    findings = Few(name)
    for place, cells, sample, problem in rows:
        if sample is not None and math.isfinite(sample.value):
            found.append(sample)
        elif cells.get("metric", "").strip():
            reason = problem or f"{place}: performance: found {cells['performance'].strip()!r}, allowed: a number"
            found.append(_without_number(place, cells, node, reason))
        else:
            findings.add(problem)
    counts = Counter(map(key_of, found))
    seen: Counter[Key] = Counter()
    tally = Tally()
    for sample in found:
        key = key_of(sample)
        seen[key] += 1
        alone = counts[key] == 1
        tally.add(sample if alone else replace(sample, extra={**sample.extra, SAME_NAME: str(seen[key])}))
    return tally.reading(name, findings.all(), [*notes, *_twins(name, counts)])


def _without_number(place: str, cells: dict[str, str], node: int, reason: str) -> Sample:
    model, metric = cells["model"].strip(), cells["metric"].strip()
    extra = {column: cell for column, cell in cells.items() if column not in ("model", "performance", "metric")}
    said = " ".join(filter(None, (model, metric)))
    return Sample(
        node=node,
        metric=metric,
        value=math.nan,
        text=cells["performance"].strip()[:80],
        source=place,
        model=model,
        extra=extra,
        missing=f"{said} has no number: {reason}",
    )


def _twins(name: str, counts: Counter[Key]) -> list[str]:
    twins = [(f"{model} {metric}".strip(), times) for (model, metric, _), times in counts.items() if times > 1]
    notes = [
        f"{name}: {said} is there {times} times and nothing tells the rows apart; all are kept, numbered in the column "
        f"{SAME_NAME}, and compared with no earlier run"
        for said, times in twins[:_MOST]
    ]
    more = len(twins) - _MOST
    return [*notes, *([f"{name}: {more} more names that several rows share"] if more > 0 else [])]
