"""The one result that scripts around the Trainer of Hugging Face print without a `performance:` line."""

from __future__ import annotations

import math
import re
from pathlib import Path

from madrun.results.loglines import marked
from madrun.results.samples import Reading, Tally
from madrun.spec.record import Sample

MARK, METRIC = "train_samples_per_second", "samples_per_second"
_VALUE = re.compile(MARK + r"['\"\s:=]+([0-9][0-9.eE+-]*)")


def samples_of_trainer(path: Path, node: int) -> Reading:
    """What the Trainer says of its speed; the last value counts, as that of a `performance:` line."""
    tally = Tally()
    for number, line in marked(path, MARK):
        match = _VALUE.search(line)
        value = _number(match[1]) if match else None
        if match is not None and value is not None:
            source = f"{path.name}:{number}"
            tally.add(Sample(node=node, metric=METRIC, value=value, text=match[1], source=source))
    return tally.reading(path.name, [])


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
