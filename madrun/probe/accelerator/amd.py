"""AMD GPUs: KFD topology, sysfs of the PCI devices, and AMD's tools where these leave a product unknown."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from madrun.probe.accelerator.kfd import Node, gpu_nodes
from madrun.probe.accelerator.products import is_product, product
from madrun.probe.accelerator.published import numa_node, owning_groups, present, read
from madrun.probe.accelerator.tools import Run
from madrun.spec.facts import Accelerator, Gpu

_CONTROL = ("/dev/kfd",)


def find(root: Path, run: Run) -> Accelerator | None:
    """The AMD GPUs of the host, None without any; no GPUs and a note where all are hidden from this process.

    AMD's tools take seconds: only an unknown product starts them.
    """
    nodes, hidden = gpu_nodes(root)
    if not nodes:
        return Accelerator(hidden=len(hidden), notes=tuple(_hidden(hidden))) if hidden else None
    modes = {node.physical: _mode(root, node) for node in nodes}
    gpus = tuple(_gpu(root, index, node, modes) for index, node in enumerate(nodes))
    notes = [*_hidden(hidden), *_missing(nodes, gpus), *_partitioned(nodes, modes)]
    if any(not gpu.model for gpu in gpus):
        gpus, more = _asked(gpus, run)
        notes += more
    return Accelerator(
        vendor="amd",
        gpus=tuple(_named(gpu, modes[node.physical]) for gpu, node in zip(gpus, nodes, strict=True)),
        driver=_driver(root),
        stack=_stack(root),
        control=_CONTROL,
        groups=owning_groups(root, (*_CONTROL, *(node.render for node in nodes if node.render))),
        hidden=len(hidden),
        notes=tuple(notes),
    )


def _gpu(root: Path, index: int, node: Node, modes: dict[str, str]) -> Gpu:
    pci = root / "sys/bus/pci/devices" / (node.physical or "-")
    whole = modes[node.physical] in ("", "SPX")
    vram = read(pci / "mem_info_vram_total") if whole else ""
    return Gpu(
        index=index,
        model=product(root, node.device_id, pci),
        arch=node.arch,
        uuid=node.uuid,
        bus=node.bus,
        device=node.render if node.render and present(root, (node.render,)) else "",
        memory=node.memory or (int(vram) if vram.isdecimal() else 0),
        numa=numa_node(root, node.physical),
    )


def _mode(root: Path, node: Node) -> str:
    """SPX (the whole GPU), DPX, TPX, QPX or CPX; empty where the driver has no partitions."""
    return read(root / "sys/bus/pci/devices" / (node.physical or "-") / "current_compute_partition")


def _named(gpu: Gpu, mode: str) -> Gpu:
    """A part of a GPU is no such GPU, so its model says the mode; without a product the architecture is the name."""
    model = gpu.model or gpu.arch
    return replace(gpu, model=model if mode in ("", "SPX") else f"{model} ({mode})")


def _hidden(names: tuple[str, ...]) -> list[str]:
    return [f"KFD node {name} is hidden from this process, its GPU is left out" for name in names]


def _missing(nodes: tuple[Node, ...], gpus: tuple[Gpu, ...]) -> list[str]:
    pairs = zip(nodes, gpus, strict=True)
    return [
        f"GPU {gpu.index} ({gpu.bus}): its device file {node.render or 'of /dev/dri'} is not there"
        for node, gpu in pairs
        if not gpu.device
    ]


def _partitioned(nodes: tuple[Node, ...], modes: dict[str, str]) -> list[str]:
    parts = Counter(node.physical for node in nodes)
    notes = []
    for mode in sorted({mode for mode in modes.values() if mode not in ("", "SPX")}):
        cut = [physical for physical in parts if modes[physical] == mode]
        notes.append(f"compute partition mode {mode}: {sum(parts[one] for one in cut)} devices on {len(cut)} GPUs")
    unnamed = [physical for physical, count in parts.items() if physical and count > 1 and not modes[physical]]
    if unnamed:
        notes.append(f"{', '.join(unnamed)}: several KFD nodes, and the driver names no compute partition mode")
    return notes


def _asked(gpus: tuple[Gpu, ...], run: Run) -> tuple[tuple[Gpu, ...], list[str]]:
    """The GPUs with what the first tool that answers knows of them; notes say where it contradicts sysfs."""
    from madrun.probe.accelerator import amdsmi, rocminfo, rocmsmi

    asked = (
        (("amd-smi", "static", "--asic", "--bus", "--board", "--vram", "--json"), amdsmi.parse),
        (("rocm-smi", "--showproductname", "--showuniqueid", "--showbus", "--json"), rocmsmi.parse),
        (("rocminfo",), rocminfo.parse),
    )
    for argv, parse in asked:
        listed = parse(run(argv) or "")
        if listed:
            return _completed(gpus, listed, argv[0])
    return gpus, ["the product is not known: not in sysfs, and no answer from amd-smi, rocm-smi or rocminfo"]


def _completed(gpus: tuple[Gpu, ...], listed: tuple[Gpu, ...], tool: str) -> tuple[tuple[Gpu, ...], list[str]]:
    notes = []
    if len(listed) != len(gpus):
        notes.append(f"sysfs has {len(gpus)} GPUs, {tool} has {len(listed)}")
    completed = []
    for gpu in gpus:
        match = _match(gpu, listed)
        if match is None:
            notes.append(f"GPU {gpu.index} ({gpu.bus}) is not among those of {tool}")
            completed.append(gpu)
            continue
        told = match.model if is_product(match.model) else ""
        if gpu.model and told and told != gpu.model:
            notes.append(f"GPU {gpu.index} ({gpu.bus}): sysfs says {gpu.model}, {tool} says {told}")
        completed.append(replace(gpu, model=gpu.model or told, memory=gpu.memory or match.memory))
    return tuple(completed), notes


def _match(gpu: Gpu, listed: tuple[Gpu, ...]) -> Gpu | None:
    """By id, else by PCI address, never by index: the tools do not count alike, and rocminfo knows no PCI domain."""
    by_id = [one for one in listed if gpu.uuid and one.uuid == gpu.uuid]
    by_address = [one for one in listed if gpu.bus and one.bus == gpu.bus]
    # The parts of a cut GPU may share one id.
    both = [one for one in by_id if one in by_address]
    return next(iter((*both, *by_id, *by_address)), None)


def _driver(root: Path) -> str:
    """Version of amdgpu-dkms; the driver inside the kernel has none of its own, so the kernel's is named as such."""
    own = read(root / "sys/module/amdgpu/version")
    release = read(root / "proc/sys/kernel/osrelease")
    return own or (f"Linux {release}" if release else "")


def _stack(root: Path) -> str:
    """Version of the host's ROCm: `6.4.0-47` in .info/version is 6.4.0; empty without one."""
    home = os.environ.get("ROCM_PATH") or "/opt/rocm"
    return read(root / home.lstrip("/") / ".info/version").partition("-")[0]
