"""The state of AMD GPUs by sysfs; a tool is started only for the reasons of a lower clock, which sysfs lacks.

Formats: kernel, Documentation/gpu/amdgpu/driver-misc.rst (memory), thermal.rst (power caps), ras.rst (errors);
drivers/gpu/drm/amd/amdkfd/kfd_process.c (/sys/class/kfd/kfd/proc/PID/vram_GPUID).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from madrun.probe.accelerator.kfd import gpu_nodes, kfd_address
from madrun.probe.accelerator.published import numbers
from madrun.probe.health import people
from madrun.probe.health.amdthrottle import ARGV, slowed
from madrun.probe.health.source import Source, Unreadable, whole
from madrun.spec.health import GpuProcess, GpuState, HostGpus

_KFD, _DEVICES = "sys/class/kfd/kfd", "sys/bus/pci/devices"
_WATTS = 1e-6  # hwmon counts in microwatts
_COUNTED = re.compile(r"(ue|ce): ([0-9]{1,18})")
T = TypeVar("T")


def gpus(source: Source) -> HostGpus:
    """All GPUs, in the order of KFD; the parts of a GPU that is cut up are one, for its sensors are one."""
    nodes, _ = gpu_nodes(source.root)
    labels: dict[str, str] = {}
    for index, node in enumerate(nodes):
        if node.physical:
            labels.setdefault(node.physical, f"GPU {index}")
    if not labels:
        raise Unreadable(f"/{_KFD}/topology/nodes: no GPU with a PCI address is listed")
    unread: dict[str, str] = {}
    physical = {node.bus: node.physical for node in nodes}
    users = _noted(unread, "processes", partial(_processes, source, physical))
    reasons = _noted(unread, "clocks", lambda: _by_address(slowed(source.tool(*ARGV)), list(labels)))
    states = [_state(source, label, bus, unread) for bus, label in labels.items()]
    return HostGpus(
        gpus=tuple(
            replace(
                state,
                slowed=None if reasons is None else reasons.get(state.bus),
                processes=None if users is None else tuple(users.get(state.bus, ())),
            )
            for state in states
        ),
        unread=unread,
    )


def _state(source: Source, label: str, bus: str, unread: dict[str, str]) -> GpuState:
    home = f"{_DEVICES}/{bus}"
    return GpuState(
        label=label,
        bus=bus,
        memory_used=_noted(unread, "memory", partial(source.number, f"{home}/mem_info_vram_used")),
        memory_total=_noted(unread, "memory", partial(source.number, f"{home}/mem_info_vram_total")),
        power_limit=_noted(unread, "power", partial(_power, source, bus, "power1_cap")),
        power_default=_noted(unread, "power", partial(_power, source, bus, "power1_cap_default")),
        uncorrected=_noted(unread, "errors", partial(_errors, source, bus, "ue")),
        corrected=_noted(unread, "errors", partial(_errors, source, bus, "ce")),
    )


def _noted(unread: dict[str, str], name: str, read: Callable[[], T]) -> T | None:
    """What was read; where it could not be, None and a note of why."""
    try:
        return read()
    except Unreadable as error:
        unread.setdefault(name, str(error))
        return None


def _power(source: Source, bus: str, name: str) -> float:
    folder = f"{_DEVICES}/{bus}/hwmon"
    sensors = source.names(folder)
    if not sensors:
        raise Unreadable(f"/{folder}: empty")
    return source.number(f"{folder}/{sensors[0]}/{name}") * _WATTS


def _errors(source: Source, bus: str, kind: str) -> int:
    """Errors of all blocks of the GPU: files `ras/BLOCK_err_count` with the lines `ue: N` and `ce: N`."""
    folder = f"{_DEVICES}/{bus}/ras"
    files = [name for name in source.names(folder) if name.endswith("_err_count")]
    texts = {name: source.text(f"{folder}/{name}") for name in files}
    found = {name: dict(_COUNTED.findall(text)) for name, text in texts.items()}
    odd = next((name for name, values in found.items() if kind not in values), "" if files else "*_err_count")
    if odd:
        raise Unreadable(f"/{folder}/{odd}: no line `{kind}: NUMBER`")
    return sum(int(values[kind]) for values in found.values())


def _processes(source: Source, physical: dict[str, str]) -> dict[str, list[GpuProcess]]:
    """Processes that hold memory of a GPU, by the address of its PCI device."""
    places = _gpu_ids(source, physical)
    found: dict[str, list[GpuProcess]] = {}
    for name in source.names(f"{_KFD}/proc"):
        pid = whole(name, f"/{_KFD}/proc")
        for gpu_id, bus in places.items():
            text = source.optional(f"{_KFD}/proc/{name}/vram_{gpu_id}")
            used = whole(text, f"/{_KFD}/proc/{name}/vram_{gpu_id}") if text else 0
            if used:
                found.setdefault(bus, []).append(_process(source, pid, used))
    return found


def _process(source: Source, pid: int, used: int) -> GpuProcess:
    name, owner, container = people.of_driver(source, pid)
    return GpuProcess(pid=pid, name=name, kind="C", memory=used, owner=owner, container=container)


def _gpu_ids(source: Source, physical: dict[str, str]) -> dict[str, str]:
    """PCI device by the id that KFD gives a node."""
    folder = f"{_KFD}/topology/nodes"
    found = {}
    for name in source.names(folder):
        values = numbers(source.optional(f"{folder}/{name}/properties") or "")
        bus = kfd_address(values.get("location_id", 0), max(values.get("domain", 0), 0))
        gpu_id = source.optional(f"{folder}/{name}/gpu_id") or "0"
        if gpu_id != "0" and bus in physical:
            found[gpu_id] = physical[bus]
    if set(found.values()) != set(physical.values()):  # a process on the others would not be seen
        raise Unreadable(f"/{folder}: not every GPU has a gpu_id")
    return found


def _by_address(listed: list[tuple[str, ...] | None], addresses: list[str]) -> dict[str, tuple[str, ...] | None]:
    """amd-smi counts GPUs by their PCI addresses, not as KFD does."""
    if len(listed) != len(addresses):
        raise Unreadable(f"{ARGV[0]} lists {len(listed)} GPUs, the kernel {len(addresses)}")
    return dict(zip(sorted(addresses), listed, strict=True))
