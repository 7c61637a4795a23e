"""NVIDIA GPUs: /proc/driver/nvidia (driver README, "The /proc interface"), and NVML or nvidia-smi for the rest.

The kernel driver publishes neither compute capability nor memory nor the names of MIG devices.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from madrun.probe.accelerator.published import folders, numa_node, owning_groups, pci_address, present, read
from madrun.probe.accelerator.tools import Run
from madrun.spec.facts import Accelerator, Gpu

_PROC = "proc/driver/nvidia"
_CONTROL = ("/dev/nvidiactl", "/dev/nvidia-uvm")


def find(root: Path, run: Run, binding: Callable[[], object | None]) -> Accelerator | None:
    """The NVIDIA GPUs of the host by PCI address, as nvidia-smi counts them; None without any."""
    gpus, excluded = _published(root)
    if not gpus and not (root / "dev/nvidiactl").exists():
        return None
    asked, notes = _ask(root, run, binding)
    gpus, more = _merged(gpus, asked.gpus)
    if not gpus:
        return None
    gpus = tuple(replace(gpu, numa=numa_node(root, gpu.bus)) for gpu in gpus)
    control = present(root, _CONTROL)
    return Accelerator(
        vendor="nvidia",
        gpus=gpus,
        driver=_driver(root) or asked.driver,
        stack=asked.stack,
        control=control,
        groups=owning_groups(root, (*control, *(gpu.device for gpu in gpus if gpu.device))),
        notes=(*excluded, *notes, *more),
    )


def _published(root: Path) -> tuple[tuple[Gpu, ...], list[str]]:
    found, notes = [], []
    for folder in folders(root / _PROC / "gpus"):
        values = _values(read(folder / "information"))
        bus = pci_address(values.get("Bus Location", "")) or pci_address(folder.name)
        if values.get("GPU Excluded") == "Yes":
            notes.append(f"the GPU at {bus} is left out: the driver was told to exclude it")
        elif values:
            found.append((bus, values))
    gpus = (_gpu(root, index, bus, values) for index, (bus, values) in enumerate(sorted(found, key=_by_address)))
    return tuple(gpus), notes


def _by_address(found: tuple[str, dict[str, str]]) -> tuple[int, str]:
    return len(found[0]), found[0]


def _values(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def _gpu(root: Path, index: int, bus: str, values: dict[str, str]) -> Gpu:
    """The id is all question marks while nothing has opened the GPU yet."""
    minor, uuid = values.get("Device Minor", ""), values.get("GPU UUID", "")
    device = f"/dev/nvidia{minor}" if re.fullmatch("[0-9]{1,4}", minor) else ""
    return Gpu(
        index=index,
        model=values.get("Model", ""),
        uuid="" if "?" in uuid else uuid,
        bus=bus,
        device=device if device and present(root, (device,)) else "",
    )


def _ask(root: Path, run: Run, binding: Callable[[], object | None]) -> tuple[Accelerator, list[str]]:
    from madrun.probe.accelerator import nvml

    module = binding()
    answer = nvml.read(module) if module is not None else None
    if answer is None:
        answer = _ask_nvidia_smi(run, mig=_has_mig(root))
    if answer is not None:
        return answer, []
    return Accelerator(), [
        "compute capability, memory and the highest CUDA version are not known: "
        "neither NVML (package nvidia-ml-py) nor nvidia-smi told them"
    ]


def _ask_nvidia_smi(run: Run, mig: bool) -> Accelerator | None:
    """All questions at once: each start of nvidia-smi opens every GPU."""
    from concurrent.futures import ThreadPoolExecutor

    from madrun.probe.accelerator import nvidiasmi

    questions = (nvidiasmi.QUERY, nvidiasmi.TABLE, *((nvidiasmi.LIST,) if mig else ()))
    with ThreadPoolExecutor(len(questions)) as pool:
        query, table, *listed = (text or "" for text in pool.map(run, questions))
    answer = nvidiasmi.parse_query(query)
    if not answer.gpus:
        return None
    parts = {gpu.uuid: gpu.partitions for text in listed for gpu in nvidiasmi.parse_list(text)}
    gpus = tuple(replace(gpu, partitions=parts.get(gpu.uuid, ())) for gpu in answer.gpus)
    return replace(answer, gpus=gpus, stack=nvidiasmi.cuda_version(table))


def _has_mig(root: Path) -> bool:
    """Whether a GPU is cut (MIG User Guide, "Device Nodes and Capabilities"), or the driver does not say."""
    capabilities = root / _PROC / "capabilities"
    return not capabilities.exists() or next(capabilities.glob("gpu*/mig/gi*/ci*/access"), None) is not None


def _merged(gpus: tuple[Gpu, ...], asked: tuple[Gpu, ...]) -> tuple[tuple[Gpu, ...], list[str]]:
    """The published GPUs with what the tool knows beside it; only the tool's where nothing is published."""
    if not gpus or not asked:
        return gpus or asked, []
    notes = []
    if len(gpus) != len(asked):
        notes.append(f"/proc/driver/nvidia has {len(gpus)} GPUs, the driver's library has {len(asked)}")
    merged = []
    for gpu in gpus:
        match = next((one for one in asked if one.bus == gpu.bus), None)
        if match is None:
            notes.append(f"GPU {gpu.index} ({gpu.bus}) is not among those of the driver's library")
            merged.append(gpu)
            continue
        notes += _contradictions(gpu, match)
        merged.append(
            replace(
                gpu,
                index=match.index,
                arch=match.arch,
                uuid=gpu.uuid or match.uuid,
                memory=match.memory,
                partitions=match.partitions,
            )
        )
    return tuple(merged), notes


def _contradictions(gpu: Gpu, match: Gpu) -> list[str]:
    where = f"GPU {gpu.index} ({gpu.bus})"
    notes = []
    if match.index != gpu.index:
        notes.append(f"{where}: the driver's library counts it as {match.index}")
    if gpu.model and match.model and match.model != gpu.model:
        notes.append(f"{where}: /proc says {gpu.model}, the driver's library says {match.model}")
    return notes


def _driver(root: Path) -> str:
    match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", read(root / _PROC / "version"))
    return match[1] if match else ""
