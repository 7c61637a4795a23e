"""GPUs of the KFD topology in sysfs, in the order in which HSA and HIP count them.

Format: Linux kernel, drivers/gpu/drm/amd/amdkfd/kfd_topology.c (the files of a node) and
include/uapi/linux/kfd_sysfs.h (memory heaps). A node that the device cgroup hides answers with EPERM.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from madrun.probe.accelerator.published import folders, numbers, read

_TOPOLOGY = "sys/class/kfd/kfd/topology/nodes"
_FRAME_BUFFER = (1, 2)  # heap types: public, private
_AMD = 4098


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One GPU node. `bus` is the PCI address as KFD gives it: of a cut GPU, the function counts its parts.

    `physical`: the address of the PCI device that the node belongs to.
    """

    arch: str
    device_id: int
    uuid: str
    bus: str
    physical: str
    render: str
    memory: int


def gpu_nodes(root: Path) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """The GPU nodes that this process may use, and the names of those nodes that are hidden from it."""
    found, hidden = [], []
    for folder in folders(root / _TOPOLOGY):
        if not folder.name.isdecimal():
            continue
        values = numbers(read(folder / "properties"))
        if not values or (values.get("simd_count", 0) > 0 and read(folder / "gpu_id") == "0"):
            hidden.append(folder.name)
        elif values.get("simd_count", 0) > 0 and values.get("vendor_id", _AMD) == _AMD:
            found.append(_node(root, folder, values))
    return tuple(found), tuple(hidden)


def gfx(version: int) -> str:
    """90402 -> gfx942: major, minor and stepping, the last two as hexadecimal digits."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}" if version > 0 else ""


def kfd_address(location: int, domain: int) -> str:
    """`location_id` holds bus, device and function in its lower 16 bits, as PCI does."""
    return f"{domain:04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"


def hip_uuid(unique_id: int) -> str:
    """The id as rocminfo prints it and ROCR_VISIBLE_DEVICES takes it; empty where the GPU has none."""
    return f"GPU-{unique_id:016x}" if unique_id > 0 else ""


def _node(root: Path, folder: Path, values: dict[str, int]) -> Node:
    located = "location_id" in values
    bus = kfd_address(values["location_id"], max(values.get("domain", 0), 0)) if located else ""
    minor = values.get("drm_render_minor", 0)
    return Node(
        arch=gfx(values.get("gfx_target_version", 0)),
        device_id=values.get("device_id", 0),
        uuid=hip_uuid(values.get("unique_id", 0)),
        bus=bus,
        physical=_physical(root, bus, values.get("device_id", 0)),
        render=f"/dev/dri/renderD{minor}" if minor > 0 else "",
        memory=_memory(folder),
    )


def _physical(root: Path, bus: str, device_id: int) -> str:
    """The address itself where such a device is there (a virtual function), else function 0 of the same device."""
    there = read(root / "sys/bus/pci/devices" / bus / "device") == f"0x{device_id:04x}" if bus else False
    return bus if there or not bus else f"{bus[:-1]}0"


def _memory(folder: Path) -> int:
    banks = (numbers(read(bank / "properties")) for bank in folders(folder / "mem_banks"))
    return sum(bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") in _FRAME_BUFFER)
