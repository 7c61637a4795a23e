"""The part of the measuring kit that needs no torch: summaries, checks and result lines.

summary = summarize([12.1, 12.3, 14.0])
check = Check("loss is finite", passed=True, found="[5.1, 4.9]", expected="finite")
print(performance_line(1234.5, "tokens_per_sec"))
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Robust summary of one series, in the series' own unit; `iqr` is p75 - p25."""

    n: int
    p50: float
    p95: float
    p99: float
    iqr: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Check:
    """One condition of a valid result: what was found against what was expected, in words."""

    name: str
    passed: bool
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.name}: found {self.found}, expected {self.expected}"


def percentile(values: Sequence[float], q: float) -> float:
    """The q-th percentile (0-100), linear between order statistics (Hyndman and Fan 1996, type 7)."""
    if not values:
        raise ValueError("percentile of an empty series")
    ordered = sorted(values)
    position = (len(ordered) - 1) * q / 100
    low, high = math.floor(position), math.ceil(position)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def summarize(values: Sequence[float]) -> Summary:
    """Median, tail and spread of a series. Order statistics, because step times are skewed, not normal."""
    return Summary(
        n=len(values),
        p50=statistics.median(values),
        p95=percentile(values, 95),
        p99=percentile(values, 99),
        iqr=percentile(values, 75) - percentile(values, 25),
        minimum=min(values),
        maximum=max(values),
    )


def merge_checks(per_rank: Sequence[Sequence[Check]]) -> list[Check]:
    """One check per name over all ranks: it passes where every rank that ran it passed.

    The text of a failed check is that of the lowest rank on which it failed, with all such ranks named.
    """
    merged: dict[str, Check] = {}
    failed_on: dict[str, list[int]] = {}
    for rank, checks in enumerate(per_rank):
        for check in checks:
            if not check.passed:
                if check.name not in failed_on:
                    merged[check.name] = check
                failed_on.setdefault(check.name, []).append(rank)
            merged.setdefault(check.name, check)
    return [_with_ranks(check, failed_on.get(check.name, []), len(per_rank)) for check in merged.values()]


def _with_ranks(check: Check, ranks: list[int], world_size: int) -> Check:
    if not ranks or world_size == 1:
        return check
    shown = ", ".join(str(rank) for rank in ranks[:8]) + (", ..." if len(ranks) > 8 else "")
    where = f"on {len(ranks)} of {world_size} ranks ({shown})"
    return Check(check.name, False, f"{check.found} [{where}]", check.expected)


def failure_report(checks: Iterable[Check]) -> str:
    """The text for a reader of the log: each failed check on its own line; empty when all passed."""
    checks = list(checks)
    failed = [check for check in checks if not check.passed]
    if not failed:
        return ""
    head = f"INVALID: {len(failed)} of {len(checks)} checks failed, so no performance line is printed"
    return "\n".join([head, *(f"  FAILED {check}" for check in failed)])


def performance_line(value: float, metric: str) -> str:
    """The result line `performance: <number> <metric>`, nine significant digits, integers as integers."""
    if not math.isfinite(value):
        raise ValueError(f"metric {metric} is {value}; only finite numbers are results")
    number = str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.9g}"
    return f"performance: {number} {metric}"


def metrics_are_finite(metrics: Mapping[str, float]) -> Check:
    """The check that guards the result lines themselves: at least one metric, and each a finite number."""
    bad = {name: value for name, value in metrics.items() if not math.isfinite(value)}
    found = ", ".join(f"{name}={value}" for name, value in bad.items()) or f"{len(metrics)} finite numbers"
    return Check("metrics are finite", bool(metrics) and not bad, found, "one or more, all finite")
