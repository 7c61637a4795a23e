"""Names of AMD products by PCI device id: several products share one gfx architecture.

Sources: libdrm data/amdgpu.ids; for 738e, 7410, 74a8, 74b9 and 75xx the lists in ROCm/gpu-operator (internal/utils.go),
which calls 75b0 and 75b3 virtual functions without saying so in their names.
"""

from __future__ import annotations

import re
from pathlib import Path

from madrun.probe.accelerator.published import read

_PRODUCTS = {
    0x738C: "AMD Instinct MI100",
    0x738E: "AMD Instinct MI100",
    0x7408: "AMD Instinct MI250X",
    0x740F: "AMD Instinct MI210",
    0x7410: "AMD Instinct MI210 VF",
    0x74A0: "AMD Instinct MI300A",
    0x74A1: "AMD Instinct MI300X",
    0x74A2: "AMD Instinct MI308X",
    0x74A5: "AMD Instinct MI325X",
    0x74A8: "AMD Instinct MI308X HF",
    0x74A9: "AMD Instinct MI300X HF",
    0x74B5: "AMD Instinct MI300X VF",
    0x74B6: "AMD Instinct MI308X",
    0x74B9: "AMD Instinct MI325X VF",
    0x74BD: "AMD Instinct MI300X HF",
    0x75A0: "AMD Instinct MI350X",
    0x75A3: "AMD Instinct MI355X",
    0x75B0: "AMD Instinct MI350X VF",
    0x75B3: "AMD Instinct MI355X VF",
}
# One id for two products: what the board says of itself comes first.
_SHARED = {0x740C: "AMD Instinct MI250X / MI250"}
_LISTS = ("usr/share/libdrm/amdgpu.ids", "opt/amdgpu/share/libdrm/amdgpu.ids")
_NO_NAME = re.compile(r"(n/?a|unknown|none|0x[0-9a-f]+|[0-9a-f]{4}|amd radeon(\(tm\))? graphics)?", re.IGNORECASE)


def is_product(name: str) -> bool:
    """Whether a tool's answer names a product: not an id, `N/A`, or the driver's word for any GPU."""
    return _NO_NAME.fullmatch(name.strip()) is None


def product(root: Path, device_id: int, pci: Path) -> str:
    """Product of a GPU: the table above, the board's own name, libdrm's list on this host; empty where none has it.

    `pci` is the device's folder in sysfs. The table comes first: one product is then spelled alike on every node,
    while boards spell theirs in several ways.
    """
    if device_id in _PRODUCTS:
        return _PRODUCTS[device_id]
    board = read(pci / "product_name")
    if is_product(board):
        return board
    if device_id in _SHARED:
        return _SHARED[device_id]
    revision = read(pci / "revision").removeprefix("0x")
    lists = (read(root / place) for place in _LISTS)
    return next((name for text in lists if (name := listed(text, device_id, revision))), "")


def listed(text: str, device_id: int, revision: str) -> str:
    """The name in libdrm's list, lines `74A1,<tab>00,<tab>AMD Instinct MI300X`; the revision has to agree."""
    match = re.search(rf"^{device_id:04X},\s*{re.escape(revision.upper())},\s*(\S.*)$", text, re.MULTILINE)
    return match[1].strip() if match and revision else ""
