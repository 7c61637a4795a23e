"""What `rocm-smi --showproductname`, `--showuniqueid`, `--showbus` and `-i` print, as JSON or text.

Names of fields differ between versions (`Card series`, `Card Series`, `Device Name`), so they are read in lower case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from madrun.probe.accelerator.kfd import gfx
from madrun.probe.accelerator.products import is_product
from madrun.probe.accelerator.published import pci_address
from madrun.spec.facts import Gpu

_LINE = re.compile(r"GPU\[([0-9]{1,4})\]\s*:\s*([^:]+?)\s*:\s*(.*?)\s*")
_NAMES = ("device name", "card series", "card model")


def parse(text: str) -> tuple[Gpu, ...]:
    """The GPUs that were listed, in the order of their numbers; none where the text is something else."""
    cards = _json(text) or _text(text)
    return tuple(_gpu(index, cards[index]) for index in sorted(cards))


def _json(text: str) -> dict[int, dict[str, str]]:
    """Warnings may stand before the JSON; `system` is no card."""
    start = text.find("{")
    try:
        found = json.loads(text[start:]) if start >= 0 else {}
    except (ValueError, RecursionError):
        return {}
    cards = {}
    for name, fields in found.items() if isinstance(found, dict) else ():
        match = re.fullmatch(r"card([0-9]{1,4})", name)
        if match and isinstance(fields, dict):
            cards[int(match[1])] = {key.lower(): value for key, value in fields.items() if isinstance(value, str)}
    return cards


def _text(text: str) -> dict[int, dict[str, str]]:
    cards: dict[int, dict[str, str]] = {}
    for match in (_LINE.fullmatch(line) for line in text.splitlines()):
        if match:
            cards.setdefault(int(match[1]), {})[match[2].lower()] = match[3]
    return cards


def _gpu(index: int, fields: Mapping[str, str]) -> Gpu:
    unique = re.fullmatch(r"0x([0-9a-f]{1,16})", fields.get("unique id", "").lower())
    memory = fields.get("vram total memory (b)", "")
    return Gpu(
        index=index,
        model=next((fields[name] for name in _NAMES if is_product(fields.get(name, ""))), ""),
        arch=_arch(fields.get("gfx version", "")),
        uuid=f"GPU-{unique[1]:0>16}" if unique else "",
        bus=pci_address(fields.get("pci bus", "")),
        memory=int(memory) if re.fullmatch("[0-9]{1,18}", memory) else 0,
    )


def _arch(text: str) -> str:
    """Some versions print the stepping of gfx90a in decimal: gfx9010."""
    match = re.fullmatch(r"gfx([0-9])([0-9])([0-9]{2})", text)
    if match is None or match[1] == "1":
        return text if text.startswith("gfx") else ""
    return gfx(int(match[1]) * 10000 + int(match[2]) * 100 + int(match[3]))
