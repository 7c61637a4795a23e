"""Energy of one GPU from the vendor's own counter. Missing telemetry is None, never a zero.

    meter = open_meter(device)
    before = meter() if meter else None

Counters, not sampled power: nothing runs beside the measurement, and no sample is missed. NVIDIA:
nvmlDeviceGetTotalEnergyConsumption, mJ since the driver was loaded (NVML API reference; Volta and newer). AMD:
amdsmi_get_energy_count, a counter and its resolution in uJ (AMD SMI Python API reference).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

MIN_SECONDS = 2.0  # drivers refresh the counters every 20 to 100 ms; less time would be too coarse
MAX_WATTS = 5000.0  # of one device; more is a counter that started anew or counts in another unit

Meter = Callable[[], float]


def open_meter(properties: Any, *, hip: bool) -> Meter | None:
    """A function that reads the device's energy in joules, or None where driver or Python package have none.

    `properties` are those of torch.cuda.get_device_properties: the device is found by its UUID or PCI address,
    because indices of the tools and of torch differ under *_VISIBLE_DEVICES.
    """
    try:
        meter = _amd_meter(properties) if hip else _nvidia_meter(properties)
        meter()
    except Exception:  # the packages raise their own types, and differ by version; none of them may end a run
        return None
    return meter


def _nvidia_meter(properties: Any) -> Meter:
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}".encode())
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3


def _amd_meter(properties: Any) -> Meter:
    import amdsmi

    amdsmi.amdsmi_init()
    address = f"{properties.pci_domain_id:04x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0"
    handle = amdsmi.amdsmi_get_processor_handle_from_bdf(address)

    def joules() -> float:
        reading = amdsmi.amdsmi_get_energy_count(handle)
        count = reading["energy_accumulator"] if "energy_accumulator" in reading else reading["power"]
        return float(count) * float(reading["counter_resolution"]) / 1e6

    return joules


def spent(before: float | None, after: float | None, seconds: float) -> float | None:
    """Joules between two readings; None where a reading is missing or the difference is not to be believed."""
    if before is None or after is None or seconds < MIN_SECONDS:
        return None
    joules = after - before
    return joules if 0 < joules <= MAX_WATTS * seconds else None


def total(parts: Sequence[float | None]) -> float | None:
    """The sum, where no part is missing: a job's energy is that of all its GPUs or it is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None
