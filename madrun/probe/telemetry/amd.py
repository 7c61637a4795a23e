"""AMD GPUs by sysfs, in the order of KFD. Names: Linux, Documentation/gpu/amdgpu: thermal, ras, driver-misc."""

from __future__ import annotations

from pathlib import Path

from madrun.probe.accelerator.kfd import gpu_nodes
from madrun.probe.accelerator.published import read
from madrun.probe.telemetry.counters import Kept, close_all, scaled, whole
from madrun.probe.telemetry.gpu import READINGS, columns

_DIRECT = ("power_capped", "thermally_throttled")  # sysfs has no reasons for a lower clock


def amd_gpus(indices: tuple[int, ...], root: Path) -> list[AmdGpu]:
    """A source for each of these GPUs; the parts of a GPU that is cut up share one, for its sensors are one."""
    nodes, _ = gpu_nodes(root)
    found: dict[str, AmdGpu] = {}
    for index in indices:
        if index < len(nodes) and nodes[index].physical not in found:
            folder = root / "sys/bus/pci/devices" / (nodes[index].physical or "-")
            if folder.exists():
                found[nodes[index].physical] = AmdGpu(index, folder)
    return list(found.values())


class AmdGpu:
    """One GPU: busy shares, memory, and the sensors of its hwmon."""

    def __init__(self, index: int, folder: Path) -> None:
        self.columns = columns(index, tuple(name for name in READINGS if name not in _DIRECT))
        sensors = next(iter(sorted((folder / "hwmon").glob("hwmon*"))), folder / "-")
        power = "power1_average" if (sensors / "power1_average").exists() else "power1_input"
        self._busy = Kept(folder / "gpu_busy_percent")
        self._memory_busy = Kept(folder / "mem_busy_percent")
        self._vram = Kept(folder / "mem_info_vram_used")
        self._power = Kept(sensors / power)
        self._temperature = Kept(sensors / _hottest(sensors))
        self._clock = Kept(sensors / "freq1_input")
        self._levels = Kept(folder / "pp_dpm_sclk")
        self._errors = Kept(folder / "ras/umc_err_count")

    def read(self, at: float) -> tuple[float | None, ...]:
        return (
            self._busy.number(),
            self._memory_busy.number(),
            self._vram.number(),
            scaled(self._power.number(), 1e-6),
            scaled(self._temperature.number(), 1e-3),
            self._mhz(),
            uncorrected(self._errors.text(256)),
        )

    def _mhz(self) -> float | None:
        hertz = self._clock.number()
        return current_level(self._levels.text(1024)) if hertz is None else hertz * 1e-6

    def close(self) -> None:
        files = (self._busy, self._memory_busy, self._vram, self._power, self._temperature)
        close_all((*files, self._clock, self._levels, self._errors))


def _hottest(sensors: Path) -> str:
    """The sensor at the hottest place of the chip, by its label; newer GPUs have no other."""
    labels = sorted(sensors.glob("temp*_label"))
    junction = next((label for label in labels if read(label) == "junction"), None)
    return junction.name.replace("_label", "_input") if junction is not None else "temp1_input"


def current_level(text: str) -> float | None:
    """MHz of the level that has the star: `1: 2100Mhz *`."""
    for line in text.splitlines():
        if line.rstrip().endswith("*"):
            words = line.partition(":")[2].split()
            return whole(words[0].lower().removesuffix("mhz")) if words else None
    return None


def uncorrected(text: str) -> float | None:
    """Errors of the memory that could not be corrected: the `ue:` line."""
    lines = (line.partition(":") for line in text.splitlines())
    return next((whole(value) for name, _, value in lines if name.strip() == "ue"), None)
