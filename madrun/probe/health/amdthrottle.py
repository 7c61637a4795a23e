"""Why AMD GPUs hold their clock down: `amd-smi metric --throttle --json`, which MI300 and later answer.

Format: AMD SMI CLI, section THROTTLE: values named `..._VIOLATION_STATUS` are ACTIVE, NOT ACTIVE or N/A, or lists of
these, one for each part of the GPU. A list of GPUs up to ROCm 6.4, `{"gpu_data": [...]}` later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from madrun.probe.health.source import Unreadable

ARGV = ("amd-smi", "metric", "--throttle", "--json")
# Others are ACTIVE on a GPU that is at rest, such as low_utilization.
_REASONS = ("prochot", "ppt", "socket_thermal", "vr_thermal", "hbm_thermal")
_STATUS = "_violation_status"


def slowed(text: str) -> list[tuple[str, ...] | None]:
    """Of each GPU, in the tool's order, what holds its clock down; None where the GPU does not say.

    `Unreadable` where the text is something else.
    """
    start = re.search(r"^[\[{]", text, re.MULTILINE)  # Python's warnings may stand before it
    try:
        found = json.loads(text[start.start() :]) if start else None
    except (ValueError, RecursionError):
        found = None
    items = found.get("gpu_data") if isinstance(found, dict) else found
    gpus = [item for item in items if isinstance(item, dict) and "gpu" in item] if isinstance(items, list) else []
    if not gpus:
        raise Unreadable(f"{' '.join(ARGV)} did not print its JSON: {text.strip()[:100] or 'nothing'}")
    return [_reasons(item) for item in gpus]


def _reasons(item: dict[str, Any]) -> tuple[str, ...] | None:
    known = [(name, word) for name, word in _words(item, "") if word in ("ACTIVE", "NOT ACTIVE")]
    return tuple(dict.fromkeys(name for name, word in known if word == "ACTIVE")) if known else None


def _words(value: object, name: str) -> Iterator[tuple[str, str]]:
    """All words below a key that ends in `_violation_status`, under the key's name without that end."""
    if isinstance(value, dict):
        for key, below in value.items():
            status = str(key).lower()
            yield from _words(below, status.removesuffix(_STATUS) if status.endswith(_STATUS) else name)
    elif isinstance(value, list):
        for below in value:
            yield from _words(below, name)
    elif name in _REASONS and isinstance(value, str):
        yield name, value.strip().upper()
