"""How a number differs from the one before it: the previous valid row that was measured under the same conditions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from madrun.results.mad.rows import SAME_NAME

Row = dict[str, str]
Key = tuple[str, ...]
# What has to be equal: card, metric, size, arguments and hardware. Images and commits are what one wants to compare.
CONDITIONS = (
    "model",
    "metric",
    "unit",
    "n_gpus",
    "nnodes",
    "gpus_per_node",
    "training_precision",
    "args",
    "docker_file",
    "launcher",
    "runtime",
    "gpu_architecture",
    "dataname",
    "additional_docker_run_options",
)


class Changes:
    """The last valid number under each set of conditions; `known` are the columns that every row has."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._last: dict[Key, float] = {}

    def learn(self, rows: Iterable[Row]) -> None:
        """Takes in rows that are there already, oldest first."""
        for row in rows:
            if (key := self._key(row)) is not None:
                self._last[key] = float(row["performance"])

    def fill(self, rows: Sequence[Row]) -> None:
        """Writes `relative_change` into the rows of one run, as a signed fraction of the earlier number: +0.0500."""
        for row in rows:
            key = self._key(row)
            before = self._last.get(key) if key is not None else None
            if before:
                change = (float(row["performance"]) - before) / abs(before)
                row["relative_change"] = f"{change:+.4f}" if math.isfinite(change) else ""
        self.learn(rows)

    def _key(self, row: Row) -> Key | None:
        """What two rows must have in common; None for a row that can be compared with none."""
        if row.get("status") != "SUCCESS" or SAME_NAME in row or not _is_number(row.get("performance", "")):
            return None
        where = "" if row.get("gpu_architecture") else row.get("machine_name", "")  # hosts without GPU differ in all
        extra = [f"{name}={row[name]}" for name in sorted(row.keys() - self._known) if row[name]]
        return (*(row.get(name, "") for name in CONDITIONS), where, *extra)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
