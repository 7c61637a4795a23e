"""NVML through NVIDIA's own Python binding (package nvidia-ml-py, module pynvml) where that is installed."""

from __future__ import annotations

from typing import Any

from madrun.probe.accelerator.nvidiasmi import sm
from madrun.probe.accelerator.published import pci_address
from madrun.spec.facts import Accelerator, Gpu, Partition


def read(pynvml: Any) -> Accelerator | None:
    """GPUs, driver and CUDA version; None where NVML does not answer (no driver, other version, no permission).

    A GPU that does not answer is left out. A binding of another package that lacks a call (nvidia-ml-py3 knows neither
    MIG nor compute capability) counts as one that does not answer.
    """
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError, OSError):
        return None
    try:
        count = pynvml.nvmlDeviceGetCount()
        gpus = tuple(gpu for index in range(count) if (gpu := _answering(pynvml, index)))
        cuda = pynvml.nvmlSystemGetCudaDriverVersion_v2()
        driver = pynvml.nvmlSystemGetDriverVersion()
    except (pynvml.NVMLError, AttributeError):
        return None
    finally:
        pynvml.nvmlShutdown()
    if count and not gpus:
        return None
    return Accelerator(vendor="nvidia", gpus=gpus, driver=_word(driver), stack=f"{cuda // 1000}.{cuda % 1000 // 10}")


def _answering(pynvml: Any, index: int) -> Gpu | None:
    try:
        return _gpu(pynvml, index)
    except pynvml.NVMLError:
        return None


def _gpu(pynvml: Any, index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        index=index,
        model=_word(pynvml.nvmlDeviceGetName(handle)),
        arch=sm(f"{major}.{minor}"),
        uuid=_word(pynvml.nvmlDeviceGetUUID(handle)),
        bus=pci_address(_word(pynvml.nvmlDeviceGetPciInfo(handle).busId)),
        device=_device(pynvml, handle),
        memory=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        mig=_mig(pynvml, handle),
        partitions=_partitions(pynvml, handle),
    )


def _device(pynvml: Any, handle: object) -> str:
    try:
        return f"/dev/nvidia{pynvml.nvmlDeviceGetMinorNumber(handle)}"
    except pynvml.NVMLError:
        return ""


def _mig(pynvml: Any, handle: object) -> bool:
    """Whether MIG mode is on; a GPU without MIG is an error."""
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    except pynvml.NVMLError:
        return False


def _partitions(pynvml: Any, handle: object) -> tuple[Partition, ...]:
    """MIG devices; their name ends in ` MIG 1g.18gb`. An index that is not taken, or a GPU without MIG, is an error."""
    found = []
    try:
        slots = pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except pynvml.NVMLError:
        return ()
    for slot in range(slots):
        try:
            part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot)
        except pynvml.NVMLError:
            continue
        name = _word(pynvml.nvmlDeviceGetName(part)).rpartition(" MIG ")[2]
        found.append(Partition(name=name, uuid=_word(pynvml.nvmlDeviceGetUUID(part))))
    return tuple(found)


def _word(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
