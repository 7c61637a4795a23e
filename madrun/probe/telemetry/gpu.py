"""What is said of every GPU, whoever made it."""

from __future__ import annotations

READINGS = (
    "util_pct",
    "memory_activity_pct",
    "memory_used_bytes",
    "power_w",
    "temperature_c",
    "clock_mhz",
    "power_capped",
    "thermally_throttled",
    "ecc_uncorrected",
)


def columns(index: int, readings: tuple[str, ...] = READINGS) -> tuple[str, ...]:
    """Their names in telemetry.csv: `gpu0_util_pct`."""
    return tuple(f"gpu{index}_{reading}" for reading in readings)
