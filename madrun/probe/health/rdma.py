"""What RDMA needs beside its adapters: flow control of Ethernet ports, and a way into the memory of GPUs.

Formats: dcb-pfc(8); kernel, Documentation/ABI/testing/sysfs-module; NVIDIA's GPUDirect RDMA documentation; ROCm's
documentation of peer memory (amdkfd registers at /sys/kernel/mm/memory_peers).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from madrun.probe.health.kernel import release
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.health import FlowControl, PeerMemory

_PFC = re.compile(r"\bprio-pfc((?: [0-7]:(?:on|off))+)")
_MODULES = {"nvidia": ("nvidia_peermem", "nv_peer_mem"), "amd": ()}
_PEERS = ("sys/kernel/mm/memory_peers/amdkfd", "sys/memory_peers/amdkfd")


def flow_control(source: Source, interfaces: Iterable[str]) -> FlowControl:
    """Priorities with flow control of these interfaces by `dcb pfc show`, of iproute2 since 5.11."""
    found = {}
    for name in interfaces:
        match = _PFC.search(source.tool("dcb", "pfc", "show", "dev", name, "prio-pfc"))
        if match is None:
            raise Unreadable(f"dcb pfc show dev {name}: it told no prio-pfc")
        pairs = [pair.split(":") for pair in match[1].split()]
        found[name] = tuple(int(priority) for priority, state in pairs if state == "on")
    return FlowControl(priorities=found)


def peer_memory(source: Source, vendor: str) -> PeerMemory:
    """The ways that are open; none of them is nothing against DMA-BUF, which has no mark of its own."""
    loaded = set(source.names("sys/module"))
    ways = [name for name in _MODULES.get(vendor, ()) if name in loaded]
    ways += [f"/{path}" for path in _PEERS if vendor == "amd" and source.exists(path)]
    return PeerMemory(ways=tuple(ways), kernel=release(source))
