"""What `amd-smi list` and `amd-smi static` print, as JSON or text.

JSON is a list up to ROCm 6.4, and `{"gpu_data": [...]}` from ROCm 7 on for `static`. Its index counts PCI
addresses, while HIP counts KFD nodes: the two differ on some hosts, so only address or id tell which GPU is meant.
"""

from __future__ import annotations

import json
import re
from typing import Any

from madrun.probe.accelerator.products import is_product
from madrun.probe.accelerator.published import pci_address
from madrun.spec.facts import Gpu

_HEAD = re.compile(r"GPU: ?([0-9]{1,4})\s*")
_LINE = re.compile(r"( +)([A-Z][A-Z0-9_ ]*):(?: (.*))?")
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def parse(text: str) -> tuple[Gpu, ...]:
    """The GPUs that were listed, with the facts that the command printed; none where the text is something else."""
    items = _json(text)
    return tuple(_gpu(place, item) for place, item in enumerate(_text(text) if items is None else items))


def _json(text: str) -> list[dict[str, Any]] | None:
    """Python's warnings may stand before the JSON."""
    start = re.search(r"^[\[{]", text, re.MULTILINE)
    if start is None:
        return None
    try:
        found = json.loads(text[start.start() :])
    except (ValueError, RecursionError):
        return None
    items = found.get("gpu_data") if isinstance(found, dict) else found
    return [item for item in items if isinstance(item, dict) and "gpu" in item] if isinstance(items, list) else []


def _text(text: str) -> list[dict[str, Any]]:
    """The text form as the nested dictionaries of the JSON form: sections indented by 4, their values by 8."""
    items: list[dict[str, Any]] = []
    section = ""
    for line in text.splitlines():
        head, match = _HEAD.fullmatch(line), _LINE.fullmatch(line.rstrip())
        if head:
            items.append({"gpu": int(head[1])})
            section = ""
        elif items and match and len(match[1]) == 4:
            section, value = match[2].lower(), match[3]
            items[-1].setdefault(section, {} if value is None else value)
        elif items and match and section and isinstance(items[-1][section], dict):
            items[-1][section].setdefault(match[2].lower(), match[3] or "")
    return items


def _gpu(place: int, item: dict[str, Any]) -> Gpu:
    asic, bus, board, vram = (_part(item, name) for name in ("asic", "bus", "board", "vram"))
    index, render = item["gpu"], _word(item, "render")
    serial = re.fullmatch(r"0x([0-9a-f]{1,16})", _word(asic, "asic_serial").lower())
    names = [name for name in (_word(asic, "market_name"), _word(board, "product_name")) if is_product(name)]
    return Gpu(
        index=index if isinstance(index, int) else place,
        model=names[0] if names else "",
        arch=_word(asic, "target_graphics_version").lower(),
        uuid=_word(item, "hip_uuid") or (f"GPU-{serial[1]:0>16}" if serial else ""),
        bus=pci_address(_word(bus, "bdf") or _word(item, "bdf")),
        device=f"/dev/dri/{render}" if re.fullmatch(r"renderD[0-9]{1,6}", render) else "",
        memory=_size(vram.get("size", vram.get("vram_size"))),
    )


def _part(item: dict[str, Any], name: str) -> dict[str, Any]:
    part = item.get(name)
    return part if isinstance(part, dict) else {}


def _word(item: dict[str, Any], name: str) -> str:
    word = item.get(name)
    return word.strip() if isinstance(word, str) and word.strip() != "N/A" else ""


def _size(value: object) -> int:
    """Bytes of `{"value": 196592, "unit": "MB"}` or `196592 MB`; AMD's MB is 2**20."""
    text = f"{value.get('value')} {value.get('unit')}" if isinstance(value, dict) else str(value)
    match = re.fullmatch(r"([0-9]{1,15}) ?(B|KB|MB|GB)", text)
    return int(match[1]) * _UNITS[match[2]] if match else 0
