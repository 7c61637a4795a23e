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
    """The NVIDIA GPUs that this process may use, as nvidia-smi counts them; None on a host without any.

    Where the host has GPUs and this process may use none of them, `hidden` says how many.
    """
    published, excluded = _published(root)
    if not published and not (root / "dev/nvidiactl").exists():
        return None
    asked = _ask(root, run, binding)
    gpus, hidden, more = _merged(published, asked)
    if not gpus:
        return Accelerator(hidden=hidden, notes=(*excluded, *more)) if hidden else None
    # nvidia-smi and NVML make device files that are missing, so these are looked for afterwards.
    gpus, missing = _with_files(root, gpus)
    control = present(root, _CONTROL)
    return Accelerator(
        vendor="nvidia",
        gpus=gpus,
        driver=_driver(root) or (asked.driver if asked else ""),
        stack=asked.stack if asked else "",
        control=control,
        groups=owning_groups(root, (*control, *(gpu.device for gpu in gpus if gpu.device))),
        hidden=hidden,
        notes=(*excluded, *more, *missing),
    )


def _with_files(root: Path, gpus: tuple[Gpu, ...]) -> tuple[tuple[Gpu, ...], list[str]]:
    """The GPUs with their NUMA nodes and those of the device files that are there; notes name the others."""
    gone = {gpu.device for gpu in gpus if gpu.device} - set(present(root, (gpu.device for gpu in gpus if gpu.device)))
    notes = [
        f"GPU {gpu.index} ({gpu.bus}): its device file {gpu.device} is not there" for gpu in gpus if gpu.device in gone
    ]
    return tuple(
        replace(gpu, numa=numa_node(root, gpu.bus), device="" if gpu.device in gone else gpu.device) for gpu in gpus
    ), notes


def _published(root: Path) -> tuple[tuple[Gpu, ...], list[str]]:
    found, notes = [], []
    for folder in folders(root / _PROC / "gpus"):
        values = _values(read(folder / "information"))
        bus = pci_address(values.get("Bus Location", "")) or pci_address(folder.name)
        if values.get("GPU Excluded") == "Yes":
            notes.append(f"the GPU at {bus} is left out: the driver was told to exclude it")
        elif values:
            found.append((bus, values))
    gpus = (_gpu(index, bus, values) for index, (bus, values) in enumerate(sorted(found, key=_by_address)))
    return tuple(gpus), notes


def _by_address(found: tuple[str, dict[str, str]]) -> tuple[int, str]:
    return len(found[0]), found[0]


def _values(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


def _gpu(index: int, bus: str, values: dict[str, str]) -> Gpu:
    """The id is all question marks while nothing has opened the GPU yet."""
    minor, uuid = values.get("Device Minor", ""), values.get("GPU UUID", "")
    return Gpu(
        index=index,
        model=values.get("Model", ""),
        uuid="" if "?" in uuid else uuid,
        bus=bus,
        device=f"/dev/nvidia{minor}" if re.fullmatch("[0-9]{1,4}", minor) else "",
    )


def _ask(root: Path, run: Run, binding: Callable[[], object | None]) -> Accelerator | None:
    """What the driver's library lists; None where neither NVML nor nvidia-smi answers."""
    from madrun.probe.accelerator import nvml

    module = binding()
    answer = nvml.read(module) if module is not None else None
    return answer or _ask_nvidia_smi(run, mig=_has_mig(root))


def _ask_nvidia_smi(run: Run, mig: bool) -> Accelerator | None:
    """All questions at once: each start of nvidia-smi opens every GPU."""
    from concurrent.futures import ThreadPoolExecutor

    from madrun.probe.accelerator import nvidiasmi

    questions = (nvidiasmi.QUERY, nvidiasmi.TABLE, *((nvidiasmi.LIST,) if mig else ()))
    with ThreadPoolExecutor(len(questions)) as pool:
        query, table, *listed = (text or "" for text in pool.map(run, questions))
    answer = nvidiasmi.parse_query(query)
    if nvidiasmi.NO_GPUS in query:
        return Accelerator()
    if table and not answer.gpus:  # an older driver refuses unknown columns, and can still list its GPUs
        answer = Accelerator(vendor="nvidia", gpus=nvidiasmi.parse_list(run(nvidiasmi.LIST) or ""))
        return replace(answer, stack=nvidiasmi.cuda_version(table)) if answer.gpus else None
    if not answer.gpus:
        return None
    if not mig and any(gpu.mig for gpu in answer.gpus):
        listed = [run(nvidiasmi.LIST) or ""]
    parts = {gpu.uuid: gpu.partitions for text in listed for gpu in nvidiasmi.parse_list(text)}
    gpus = tuple(replace(gpu, partitions=parts.get(gpu.uuid, ())) for gpu in answer.gpus)
    return replace(answer, gpus=gpus, stack=nvidiasmi.cuda_version(table))


def _has_mig(root: Path) -> bool:
    """Whether a GPU is cut (MIG User Guide, "Device Nodes and Capabilities"), or the driver does not say."""
    capabilities = root / _PROC / "capabilities"
    return not capabilities.exists() or next(capabilities.glob("gpu*/mig/gi*/ci*/access"), None) is not None


def _merged(published: tuple[Gpu, ...], asked: Accelerator | None) -> tuple[tuple[Gpu, ...], int, list[str]]:
    """The GPUs that the library lists, by its index, with what /proc knows beside; how many others there are; notes.

    /proc shows GPUs that a device cgroup keeps from this process or that are lost, and the library counts without
    them: where it answers, its index alone is used.
    """
    if asked is None:
        note = (
            "compute capability, memory and the highest CUDA version are not known: "
            "neither NVML (package nvidia-ml-py) nor nvidia-smi told them"
        )
        return published, 0, [note] if published else []
    pairs = [(one, next((gpu for gpu in published if _same(gpu, one)), None)) for one in asked.gpus]
    left = [gpu for gpu in published if all(gpu is not match for _, match in pairs)]
    notes = [
        f"the GPU at {gpu.bus} is left out: the driver's library does not list it (kept from this process, or lost)"
        for gpu in left
    ]
    merged = []
    for one, gpu in pairs:
        notes += _contradictions(gpu, one, renumbered=bool(left)) if gpu else []
        merged.append(_completed(gpu, one) if gpu else one)
    return tuple(merged), len(left), notes


def _same(gpu: Gpu, one: Gpu) -> bool:
    return (bool(one.bus) and gpu.bus == one.bus) or (bool(one.uuid) and gpu.uuid == one.uuid)


def _completed(gpu: Gpu, one: Gpu) -> Gpu:
    return replace(
        one,
        model=gpu.model or one.model,
        uuid=gpu.uuid or one.uuid,
        bus=gpu.bus or one.bus,
        device=gpu.device or one.device,
    )


def _contradictions(gpu: Gpu, match: Gpu, renumbered: bool) -> list[str]:
    where = f"GPU {match.index} ({gpu.bus})"
    notes = []
    if match.index != gpu.index and not renumbered:
        notes.append(f"{where}: by PCI address it is {gpu.index}, the driver's library counts it as {match.index}")
    if gpu.model and match.model and match.model != gpu.model:
        notes.append(f"{where}: /proc says {gpu.model}, the driver's library says {match.model}")
    return notes


def _driver(root: Path) -> str:
    match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", read(root / _PROC / "version"))
    return match[1] if match else ""
