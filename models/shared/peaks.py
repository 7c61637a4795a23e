"""Peak dense bf16 matrix rates by device name, for MFU. A device that is not listed has no MFU, not a zero.

Each entry is the vendor's figure WITHOUT structured sparsity, for one device as torch counts devices
(an MI250X counts as two). Power-capped and PCIe parts have their own, lower, figures.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peak:
    """Peak dense bf16 rate of one device, in TFLOP/s (1e12), and where the figure is published."""

    tflops: float
    source: str


# First match wins, so the more specific name stands before the general one.
BF16_DENSE: tuple[tuple[str, Peak], ...] = (
    ("H200 NVL", Peak(835.5, "NVIDIA H200 data sheet: 1,671 TFLOPS with sparsity, halved")),
    ("H200", Peak(989.5, "NVIDIA H200 data sheet: 1,979 TFLOPS with sparsity, halved")),
    ("H100 NVL", Peak(835.5, "NVIDIA H100 data sheet: 1,671 TFLOPS with sparsity, halved")),
    ("H100 PCIe", Peak(756.5, "NVIDIA H100 data sheet: 1,513 TFLOPS with sparsity, halved")),
    ("H100", Peak(989.5, "NVIDIA H100 data sheet: 1,979 TFLOPS with sparsity, halved")),
    ("A100", Peak(312.0, "NVIDIA A100 data sheet: 312 TFLOPS dense")),
    ("GB200", Peak(2500.0, "NVIDIA GB200 NVL72 data sheet: 5,000 TFLOPS with sparsity, halved")),
    ("B200", Peak(2250.0, "NVIDIA HGX B200 data sheet: 4,500 TFLOPS with sparsity, halved")),
    ("MI210", Peak(181.0, "AMD Instinct MI210 data sheet: 181.0 TFLOPS")),
    ("MI250X", Peak(191.5, "AMD Instinct MI250X data sheet: 383.0 TFLOPS, halved: one of two dies")),
    ("MI300X", Peak(1307.4, "AMD Instinct MI300X data sheet: 1,307.4 TFLOPS dense")),
    ("MI325X", Peak(1307.4, "AMD Instinct MI325X data sheet: 1,307.4 TFLOPS dense")),
    ("MI350X", Peak(2306.9, "AMD Instinct MI350X data sheet: 2,306.9 TFLOPS dense")),
    ("MI355X", Peak(2516.6, "AMD Instinct MI355X data sheet: 2,516.6 TFLOPS dense")),
)


def find_peak(device_name: str) -> Peak | None:
    """The peak of the device with this name (as torch reports it), or None when it is not listed."""
    for part, peak in BF16_DENSE:
        if part.lower() in device_name.lower():
            return peak
    return None
