"""What the kernel publishes of itself and of the CPUs and the memory.

Formats: kernel, Documentation/admin-guide/sysctl/kernel.rst, pm/cpufreq.rst, pm/intel_pstate.rst; proc_meminfo(5).
"""

from __future__ import annotations

import re
from collections import Counter

from madrun.probe.health.source import Source, Unreadable, whole
from madrun.spec.health import Governors, HostMemory, NumaBalancing

GUEST = "a virtual machine: look on its host"
_CPUS = "sys/devices/system/cpu"


def release(source: Source) -> str:
    """The kernel's release, `6.1.0-18-amd64`."""
    text = source.text("proc/sys/kernel/osrelease")
    if not re.match(r"[0-9]+\.[0-9]+", text):
        raise Unreadable(f"/proc/sys/kernel/osrelease: found {text[:40]!r}, which is not a release")
    return text


def numa_balancing(source: Source) -> NumaBalancing:
    """The setting; a kernel that was built without it has no such file, and neither has a /proc that is masked."""
    setting = source.number("proc/sys/kernel/numa_balancing")
    return NumaBalancing(setting=setting, nodes=count_of_list(source.text("sys/devices/system/node/online")))


def count_of_list(text: str) -> int:
    """How many numbers a list of the kernel has: `0-3,8` are five."""
    if not re.fullmatch(r"[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*", text):
        raise Unreadable(f"found {text[:40]!r}, which is not a list of numbers")
    ends = [part.split("-") for part in text.split(",")]
    return sum(int(last[-1]) - int(last[0]) + 1 for last in ends)


def is_guest(source: Source) -> bool:
    """Whether this is a virtual machine, which does not see its host's hardware (x86: the flag `hypervisor`)."""
    return bool(re.search(r"^flags\b.*\bhypervisor\b", source.optional("proc/cpuinfo") or "", re.MULTILINE))


def governors(source: Source) -> Governors:
    """The governors of all CPUs that are on."""
    folders = [name for name in source.names(_CPUS) if re.fullmatch("cpu[0-9]+", name)]
    with_clock = [name for name in folders if source.exists(f"{_CPUS}/{name}/cpufreq/scaling_governor")]
    if not with_clock:
        where = GUEST if is_guest(source) else "the firmware may govern the clock"
        raise Unreadable(f"/{_CPUS}: no CPU has cpufreq ({where})")
    found = Counter(source.text(f"{_CPUS}/{name}/cpufreq/scaling_governor") for name in with_clock)
    odd = [name for name in found if not re.fullmatch("[a-z_]{1,30}", name)]
    if odd:
        raise Unreadable(f"/{_CPUS}: found the governor {odd[0][:40]!r}")
    wishes = {source.optional(f"{_CPUS}/{name}/cpufreq/energy_performance_preference") or "" for name in with_clock}
    driver = source.optional(f"{_CPUS}/{with_clock[0]}/cpufreq/scaling_driver") or ""
    return Governors(governors=dict(found), driver=driver, preferences=tuple(sorted(filter(None, wishes))))


def memory(source: Source) -> HostMemory:
    """Memory and swap by /proc/meminfo, which counts in KiB."""
    rows = [line.split() for line in source.text("proc/meminfo").splitlines()]
    values = {row[0].rstrip(":"): row[1] for row in rows if len(row) >= 2}

    def size(name: str) -> int:
        if name not in values:
            raise Unreadable(f"/proc/meminfo: no line {name}")
        return whole(values[name], f"/proc/meminfo: {name}") << 10

    return HostMemory(
        total=size("MemTotal"),
        available=size("MemAvailable"),
        swap_total=size("SwapTotal"),
        swap_free=size("SwapFree"),
    )
