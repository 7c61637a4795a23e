"""Peak dense bf16 matrix rates by device name, for MFU. A device that is not listed has no MFU, not a zero.

Each entry is the vendor's figure WITHOUT structured sparsity, for one device as torch counts devices
(an MI250X counts as two). Power-capped and PCIe parts have their own, lower, figures. A product whose figure could
not be found in a vendor's document is listed with None: it is known, and has no MFU.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Peak:
    """Peak dense bf16 rate of one device, in TFLOP/s (1e12), and where the figure is published."""

    tflops: float
    source: str
    units: int | None = None
    """Multiprocessors or compute units of the whole device; a partition of it shows fewer, and the same name."""


# The first entry all of whose words are words of the device's name wins, so the more specific one stands first.
BF16_DENSE: tuple[tuple[str, Peak | None], ...] = (
    ("GH200", Peak(989.5, "NVIDIA GH200 data sheet: 1,979 TFLOPS with sparsity, halved", 132)),
    ("H200 NVL", Peak(835.5, "NVIDIA H200 data sheet: 1,671 TFLOPS with sparsity, halved", 132)),
    ("H200", Peak(989.5, "NVIDIA H200 data sheet: 1,979 TFLOPS with sparsity, halved", 132)),
    ("H100 NVL", Peak(835.5, "NVIDIA H100 data sheet: 1,671 TFLOPS with sparsity, halved", 132)),
    ("H100 PCIe", Peak(756.5, "NVIDIA H100 data sheet: 1,513 TFLOPS with sparsity, halved", 114)),
    ("H100 80GB HBM3", Peak(989.5, "NVIDIA H100 data sheet: SXM, 1,979 TFLOPS with sparsity, halved", 132)),
    ("H100 SXM5", Peak(989.5, "NVIDIA H100 data sheet: SXM, 1,979 TFLOPS with sparsity, halved", 132)),
    ("H100", None),  # 64 GB, 96 GB and export parts: clocks and units differ, no data sheet was found
    ("A100X", None),  # a converged card with a lower power limit
    ("A100", Peak(312.0, "NVIDIA A100 data sheet: 312 TFLOPS dense", 108)),
    ("L40S", Peak(362.05, "NVIDIA L40S data sheet: 362.05 TFLOPS, 733 with sparsity", 142)),
    ("GB200", Peak(2500.0, "NVIDIA GB200 NVL72 data sheet: 5,000 TFLOPS with sparsity, halved")),
    ("GB300", None),
    ("B200", Peak(2250.0, "NVIDIA HGX B200 data sheet: 36 PFLOPS of 8 with sparsity, halved", 148)),
    ("B300", Peak(2250.0, "NVIDIA HGX B300 data sheet: 36 PFLOPS of 8 with sparsity, halved")),
    ("MI210", Peak(181.0, "AMD Instinct MI210 data sheet: 181.0 TFLOPS", 104)),
    ("MI250X MI250", None),  # one PCI id, 740c, stands for both products ("AMD Instinct MI250X / MI250")
    ("MI250X", Peak(191.5, "AMD Instinct MI250X data sheet: 383.0 TFLOPS, halved: one of two dies", 110)),
    ("MI300A", Peak(980.6, "AMD Instinct MI300A data sheet: 980.6 TFLOPS dense", 228)),
    ("MI300X", Peak(1307.4, "AMD Instinct MI300X data sheet: 1,307.4 TFLOPS dense", 304)),
    ("MI308X", None),  # gfx942 with 80 compute units; no published figure was found
    ("MI325X", Peak(1307.4, "AMD Instinct MI325X data sheet: 1,307.4 TFLOPS dense", 304)),
    ("MI350X", Peak(2306.9, "AMD Instinct MI350X data sheet: 2,306.9 TFLOPS dense", 256)),
    ("MI355X", Peak(2516.6, "AMD Instinct MI355X data sheet: 2,516.6 TFLOPS dense", 256)),
)


def find_peak(device_name: str, units: int | None = None) -> Peak | None:
    """The peak of the device with this name and so many units (both as torch reports them), or None.

    None where no figure is known, and where the device is only a part of the listed one: a MIG instance, or one
    of the partitions of an MI300X, would otherwise get an MFU that is too low by the size of its share.
    """
    words = set(_words(device_name))
    for part, peak in BF16_DENSE:
        if words.issuperset(_words(part)):
            partial = peak is not None and None not in (units, peak.units) and units != peak.units
            return None if partial or "mig" in words else peak
    return None


def _words(name: str) -> list[str]:
    """Words of a name: "NVIDIA A100-SXM4-80GB" has the words nvidia, a100, sxm4 and 80gb."""
    return re.findall(r"[a-z0-9]+", name.lower())
