"""NVIDIA GPUs by NVML, the library that comes with the driver: no package and no process of the tool is needed.

Names and numbers: nvml.h of the CUDA toolkit. A call that a GPU does not support gives None for that reading.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from madrun.probe.telemetry.counters import scaled
from madrun.probe.telemetry.gpu import columns

_LIBRARY = "libnvidia-ml.so.1"
_TEMPERATURE_GPU, _CLOCK_SM, _UNCORRECTED, _SINCE_BOOT = 0, 1, 1, 0
_POWER = 0x4 | 0x80  # SwPowerCap, HwPowerBrakeSlowdown
_THERMAL = 0x20 | 0x40  # SwThermalSlowdown, HwThermalSlowdown


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def _library() -> Any:
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None


def nvidia_gpus(indices: tuple[int, ...], load: Callable[[], Any] = _library) -> list[NvidiaGpu]:
    """A source for each of these GPUs that answers; none where NVML does not."""
    library = load()
    if library is None or library.nvmlInit_v2() != 0:
        return []
    found = []
    for index in indices:
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) == 0:
            found.append(NvidiaGpu(index, library, handle))
    return found


class NvidiaGpu:
    """One GPU."""

    def __init__(self, index: int, library: Any, handle: Any) -> None:
        self.columns = columns(index)
        self._library, self._handle = library, handle

    def read(self, at: float) -> tuple[float | None, ...]:
        used = self._ask("nvmlDeviceGetUtilizationRates", _Utilization())
        memory = self._ask("nvmlDeviceGetMemoryInfo", _Memory())
        reasons = self._number("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong())
        return (
            float(used.gpu) if used else None,
            float(used.memory) if used else None,
            float(memory.used) if memory else None,
            scaled(self._number("nvmlDeviceGetPowerUsage", ctypes.c_uint()), 1e-3),
            self._number("nvmlDeviceGetTemperature", ctypes.c_uint(), _TEMPERATURE_GPU),
            self._number("nvmlDeviceGetClockInfo", ctypes.c_uint(), _CLOCK_SM),
            _among(reasons, _POWER),
            _among(reasons, _THERMAL),
            self._number("nvmlDeviceGetTotalEccErrors", ctypes.c_ulonglong(), _UNCORRECTED, _SINCE_BOOT),
        )

    def _ask(self, name: str, into: Any, *words: int) -> Any:
        """What the call filled in; None where this driver or GPU does not know it."""
        call = getattr(self._library, name, None)
        numbers = [ctypes.c_uint(word) for word in words]
        return into if call is not None and call(self._handle, *numbers, ctypes.byref(into)) == 0 else None

    def _number(self, name: str, into: Any, *words: int) -> float | None:
        answer = self._ask(name, into, *words)
        return None if answer is None else float(answer.value)

    def close(self) -> None:
        return  # NVML stays open for the other GPUs; it ends with this process


def _among(reasons: float | None, mask: int) -> float | None:
    """1 where one of these reasons holds the clock down, so that the mean is the share of the time."""
    return None if reasons is None else float(bool(int(reasons) & mask))
