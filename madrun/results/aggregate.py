"""The value of each metric for the whole run: nodes are combined as the card declares, never by a metric's name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from madrun.results.samples import Key, key_of
from madrun.spec.card import Metric
from madrun.spec.record import Check, MetricResult, Sample

SAME_TOLERANCE = 1e-9
MEASURED = "something was measured"  # the name of this check
_MOST_NODES = 8  # named
_COMBINE: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "mean": lambda values: math.fsum(values) / len(values),
    "min": min,
    "max": max,
    "last": lambda values: values[-1],
    "same": lambda values: values[0],
}


def aggregate(
    samples: Sequence[Sample], declared: dict[str, Metric], nnodes: int
) -> tuple[list[MetricResult], list[Check], list[str]]:
    """Results, checks and notes. Of several lines of one metric from one node the last counts."""
    last: dict[Key, dict[int, Sample]] = {}
    for sample in samples:
        last.setdefault(key_of(sample), {})[sample.node] = sample
    results, checks, notes = [], [], []
    for (_, name, _), by_node in last.items():
        metric = declared.get(name)
        result, check = _combine(name, metric, by_node, nnodes)
        results.append(result)
        checks += check
        if metric is None and len(by_node) > 1:
            notes.append(f"{name}: no across_nodes rule; the value of node {min(by_node)} counts")
    checks += _presence(declared, results)
    return results, checks, list(dict.fromkeys(notes))


def _combine(
    name: str, metric: Metric | None, by_node: dict[int, Sample], nnodes: int
) -> tuple[MetricResult, list[Check]]:
    checks = []
    used = [by_node[node] for node in sorted(by_node)]
    rule = metric.across_nodes if metric else "last"
    if metric is None:
        used = used[:1]  # node 0's value, else that of the node that has one
    elif rule == "same":
        checks.append(_agree(name, used, nnodes))
    elif rule != "last" and len(used) < nnodes:
        have = ", ".join(str(sample.node) for sample in used)
        text = f"{name} is to be combined by {rule} over {nnodes} nodes, but only node {have} has it"
        checks.append(Check(name=f"{name} from every node", passed=False, text=text))
    value = _combined(rule, used)
    missing = next((sample.missing for sample in used if sample.missing), "")
    bad = next((sample.text for sample in used if not math.isfinite(sample.value)), repr(value))
    finite = math.isfinite(value)
    text = "" if finite else missing or f"{name} is {bad}, which is not finite"
    checks.append(Check(name=f"{name} is finite", passed=finite, text=text, one_row=bool(missing)))
    if metric:
        checks += _bounds(name, metric, value)
    one_source = rule == "same" or len(used) == 1
    spelled = used[0].text if one_source else used[-1].text if rule == "last" else repr(value)
    first = used[0]
    return (
        MetricResult(
            metric=name,
            value=value,
            text=spelled,
            unit=metric.unit if metric else first.extra.get("csv_unit", ""),
            across_nodes=rule if metric else "",
            primary=metric.primary if metric else False,
            higher_is_better=metric.higher_is_better if metric else None,
            model=first.model,
            extra=first.extra,
            missing=missing,
        ),
        checks,
    )


def _combined(rule: str, used: list[Sample]) -> float:
    """The value by the rule; not a number where any of the values is none, infinite where they add up to it."""
    values = [sample.value for sample in used]
    if not all(map(math.isfinite, values)):
        return math.nan
    try:
        return _COMBINE[rule](values)
    except OverflowError:
        return math.inf


def _agree(name: str, used: list[Sample], nnodes: int) -> Check:
    """That the nodes agree; where some did not print it, the check says so and does not claim more than was seen."""
    values = [sample.value for sample in used]
    equal = all(math.isclose(value, values[0], rel_tol=SAME_TOLERANCE) for value in values[1:])
    shown = ", ".join(f"{sample.text} on node {sample.node}" for sample in used[:4])
    text = "" if equal else f"{name} is declared the same on every node, but differs: {shown}"
    ranks = list(dict.fromkeys(sample.node for sample in used))
    where = "every node"
    if len(ranks) < nnodes:
        where = f"node {', '.join(map(str, ranks[:_MOST_NODES]))}{' and more' if len(ranks) > _MOST_NODES else ''}"
        where += ", which alone printed it"
    return Check(name=f"{name} is the same on {where}", passed=equal, text=text)


def _bounds(name: str, metric: Metric, value: float) -> list[Check]:
    if metric.min is None and metric.max is None:
        return []
    low = -math.inf if metric.min is None else metric.min
    high = math.inf if metric.max is None else metric.max
    inside = low <= value <= high
    unit = f" {metric.unit}" if metric.unit else ""
    text = "" if inside else f"{name} is {value:g}{unit}, outside its declared bounds {low:g} to {high:g}"
    return [Check(name=f"{name} within its bounds", passed=inside, text=text)]


def _presence(declared: dict[str, Metric], results: list[MetricResult]) -> list[Check]:
    found = {result.metric for result in results}
    required = [name for name, metric in declared.items() if metric.required]
    missing = [name for name in required if name not in found]
    if not found:
        line = "no `performance: <number> <metric>` line was printed"
        wanted = f"{line}; declared: {', '.join(required)}" if required else line
        return [Check(name=MEASURED, passed=False, text=f"nothing was measured: {wanted}")]
    checks = [Check(name=MEASURED, passed=True)]
    if missing:
        text = f"declared metrics are missing: {', '.join(missing)}; found: {', '.join(sorted(found))}"
        checks.append(Check(name="every declared metric is there", passed=False, text=text))
    return checks
