"""Samples out of what a script printed.

The pattern of the `performance:` line is the one that existing model repositories rely on (MAD); here it also
sees `nan` and `inf`, so that a script which prints them is told so instead of "no metric".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from madrun.results.loglines import marked
from madrun.spec.record import Sample

NUMBER = r"[+\-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+\-]?[0-9]+)?|(?i:nan|inf(?:inity)?))"
LINE = re.compile(rf"performance:\s+({NUMBER})(?:,?\s*/[a-zA-Z]+\s*,?|,)?\s+([^\s,]+)")
MARK = "performance:"
ALMOST = re.compile(r"performance:\s*[+\-]?[0-9.]")  # a number, and yet no result line
Key = tuple[str, str, tuple[tuple[str, str], ...]]
_MOST_FINDINGS = 10
_MOST_BYTES = 3 << 20  # an outcome travels as one message of at most 8 MiB; log and CSV may each fill this much


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a log or a CSV holds: samples, findings that stand against the run, and notes that do not."""

    samples: tuple[Sample, ...] = ()
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Tally:
    """The last sample of each metric, with how often it came and whether it differed; bounded in size."""

    def __init__(self) -> None:
        self._last: dict[Key, Sample] = {}
        self._size = 0
        self._left_out = 0

    def __contains__(self, sample: Sample) -> bool:
        return key_of(sample) in self._last

    def add(self, sample: Sample) -> None:
        """Takes a sample in; beyond 3 MiB of them it is only counted."""
        key = key_of(sample)
        earlier = self._last.get(key)
        size = self._size + _weight(sample) - (_weight(earlier) if earlier else 0)
        if size > _MOST_BYTES:
            self._left_out += 1
            return
        if earlier is not None:
            differed = earlier.differed or earlier.text != sample.text
            sample = replace(sample, times=earlier.times + 1, differed=differed)
        self._last[key], self._size = sample, size

    def reading(self, name: str, findings: list[str], notes: Iterable[str] = ()) -> Reading:
        """What was taken in from the file of this name."""
        left_out = self._left_out
        if left_out:
            findings = [
                f"{name} has more results than {_MOST_BYTES >> 20} MiB hold; {left_out} are left out",
                *findings,
            ]
        return Reading(samples=tuple(self._last.values()), findings=tuple(findings), notes=tuple(notes))


def key_of(sample: Sample) -> Key:
    """What two samples of the same thing have in common."""
    return sample.model, sample.metric, tuple(sample.extra.items())


def _weight(sample: Sample) -> int:
    """About how many bytes the sample takes as JSON."""
    texts = [sample.metric, sample.text, sample.source, sample.model]
    texts += [text for pair in sample.extra.items() for text in pair]
    return 160 + sum(6 + len(text) * (1 if text.isascii() and text.isprintable() else 12) for text in texts)


class Few:
    """Findings of one kind: the first ten, and how many more there are."""

    def __init__(self, source: str) -> None:
        self._source, self._kept, self._count = source, list[str](), 0

    def add(self, finding: str) -> None:
        """One more finding."""
        self._count += 1
        if self._count <= _MOST_FINDINGS:
            self._kept.append(finding)

    def all(self) -> list[str]:
        """What the record is to hold."""
        more = self._count - len(self._kept)
        return [*self._kept, f"{self._source}: {more} more findings like these"] if more else self._kept


def parse_line(line: str) -> tuple[str, str] | None:
    """(number as printed, metric) of a `performance:` line; None where the line is none."""
    match = LINE.search(line)
    return (match[1], match[2]) if match else None


def samples_of_log(path: Path, node: int) -> Reading:
    """The last value of each metric of a console log, and lines that look like a result but cannot be one."""
    tally, findings, unread = Tally(), Few(path.name), Few(path.name)
    for number, line in marked(path, MARK):
        parsed = parse_line(line)
        if parsed is None:
            if ALMOST.search(line):
                shown = line[line.index(MARK) :].strip()[:80]
                unread.add(f"{path.name}:{number}: no result: {shown!r}; allowed: performance: <number> <metric>")
            continue
        text, metric = parsed
        if re.fullmatch(NUMBER, metric):
            shown = line[line.index(MARK) :].strip()[:80]
            findings.add(f"{shown}: the metric's name is a number; thousands separators are not understood")
            continue
        tally.add(Sample(node=node, metric=metric, value=float(text), text=text, source=f"{path.name}:{number}"))
    return tally.reading(path.name, findings.all(), unread.all())


def repeated(samples: Iterable[Sample]) -> list[str]:
    """Notes on metrics that one node printed several times with different values: the last one counts."""
    seen: dict[tuple[int, str], Sample] = {}
    for sample in samples:
        if not sample.model:
            key = sample.node, sample.metric
            earlier = seen.get(key, replace(sample, times=0))
            differed = earlier.differed or sample.differed or earlier.text != sample.text
            seen[key] = replace(sample, times=earlier.times + sample.times, differed=differed)
    return [
        f"node {node} printed {metric} {last.times} times with different values; the last, {last.text}, counts"
        for (node, metric), last in seen.items()
        if last.differed
    ]
