"""The kernel's settings, the CPUs, memory, and who else works here."""

from __future__ import annotations

import re

from madrun.doctor.asked import Asked
from madrun.spec.facts import HostFacts
from madrun.spec.finding import Finding
from madrun.spec.health import ClockState, Consumer, Governors, HostMemory, Load, NumaBalancing
from madrun.units import format_duration, format_size

_KERNEL_PAGE = "https://huggingface.co/docs/accelerate/basic_tutorials/troubleshooting (low kernel version)"
_NUMA_PAGE = "https://docs.kernel.org/admin-guide/sysctl/kernel.html#numa-balancing"
_GOVERNOR_PAGE = "https://docs.kernel.org/admin-guide/pm/cpufreq.html"
_SWAP_PAGE = "https://man7.org/linux/man-pages/man5/proc_meminfo.5.html"
_LOAD_PAGE = "https://man7.org/linux/man-pages/man5/proc_stat.5.html"
_CLOCK_PAGE = "https://man7.org/linux/man-pages/man2/adjtimex.2.html (STA_UNSYNC)"
_OLDEST = (5, 5)
_MOST_SWAPPED, _LEAST_AVAILABLE, _MOST_BUSY = 256 << 20, 0.5, 0.1


def kernel(release: str, facts: HostFacts, asked: Asked) -> list[Finding]:
    """Before 5.5 several processes of a training hang in each other's shared memory."""
    match = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", release)
    if match is None:
        return [Finding(name="kernel", state="UNKNOWN", text=f"{release[:40]!r} is not a release")]
    if (int(match[1]), int(match[2])) >= _OLDEST:
        return [Finding(name="kernel", state="PASS", text=f"Linux {release}")]
    text = f"Linux {release}, with which trainings of several processes are known to hang"
    return [Finding(name="kernel", state="WARN", text=text, advice="install Linux 5.5 or later", source=_KERNEL_PAGE)]


def numa_balancing(found: NumaBalancing, facts: HostFacts, asked: Asked) -> list[Finding]:
    """Off where a host has several NUMA nodes: moving pages about disturbs what is bound to a node already."""
    name, nodes = "NUMA balancing", f"{found.nodes} NUMA node{'s' if found.nodes > 1 else ''}"
    if found.setting == 0:
        return [Finding(name=name, state="PASS", text=f"off ({nodes})")]
    if found.nodes == 1:
        return [Finding(name=name, state="PASS", text=f"on, and of no effect ({nodes})")]
    advice = "as root: sysctl kernel.numa_balancing=0 (and in /etc/sysctl.d/ for the next boot)"
    text = f"on ({nodes}): the kernel moves pages between nodes while the job computes"
    return [Finding(name=name, state="WARN", text=text, advice=advice, source=_NUMA_PAGE)]


def governor(found: Governors, facts: HostFacts, asked: Asked) -> list[Finding]:
    """`performance` on all CPUs; a driver that governs itself may be told so by its preference."""
    name = "CPU governor"
    counts = ", ".join(f"{word} on {count} CPUs" for word, count in sorted(found.governors.items()))
    text = f"{counts}{f' ({found.driver})' if found.driver else ''}"
    if set(found.governors) == {"performance"}:
        return [Finding(name=name, state="PASS", text=text)]
    if found.preferences == ("performance",):
        return [Finding(name=name, state="PASS", text=f"{text}, told to prefer performance")]
    wishes = f", told to prefer {', '.join(found.preferences)}" if found.preferences else ""
    advice = "as root: cpupower frequency-set -g performance"
    return [
        Finding(
            name=name,
            state="WARN",
            text=f"{text}{wishes}: clocks rise only after the load has come",
            advice=advice,
            source=_GOVERNOR_PAGE,
        )
    ]


def memory(found: HostMemory, facts: HostFacts, asked: Asked) -> list[Finding]:
    """Memory that is available now, and what has been swapped out."""
    text = f"{format_size(found.available)} of {format_size(found.total)} available"
    low = found.available < _LEAST_AVAILABLE * found.total
    swapped = found.swap_total - found.swap_free
    advice = "see what holds it, and ask its owner: ps -eo pid,user,rss,args --sort=-rss | head"
    findings = [
        Finding(name="memory", state="WARN", text=text, advice=advice, source=_SWAP_PAGE)
        if low
        else Finding(name="memory", state="PASS", text=text)
    ]
    if swapped > _MOST_SWAPPED:
        text = f"{format_size(swapped)} of {format_size(found.swap_total)} in use: the memory was too small for all"
        advice = "end what is not needed; then, where more memory than that is available: swapoff -a; swapon -a (root)"
        findings.append(Finding(name="swap", state="WARN", text=text, advice=advice, source=_SWAP_PAGE))
    else:
        text = f"{format_size(swapped)} in use" if found.swap_total else "none"
        findings.append(Finding(name="swap", state="PASS", text=text))
    return findings


def other_load(found: Load, facts: HostFacts, asked: Asked) -> list[Finding]:
    """Others who work here while the job is to be measured."""
    name, shown = "other load", [_consumer(one) for one in found.consumers]
    text = f"{found.busy:.2g} of {found.cpus} CPUs busy{f': {chr(59).join(shown)}' if shown else ''}".replace(";", "; ")
    if found.busy <= _MOST_BUSY * found.cpus:
        return [Finding(name=name, state="PASS", text=text)]
    advice = "wait until they are done, or ask their owners: they take time from the ranks and their data loaders"
    return [Finding(name=name, state="WARN", text=text, advice=advice, source=_LOAD_PAGE)]


def _consumer(one: Consumer) -> str:
    place = f", container {one.container}" if one.container else ""
    return f"{one.command or '?'} (pid {one.pid}, {one.owner or 'unknown user'}{place}) {one.cpus:.1f} CPUs"


def clock(found: ClockState, facts: HostFacts, asked: Asked) -> list[Finding]:
    """Whether something keeps this host's clock right; how far hosts are apart is seen between them."""
    error = f"it may be wrong by {format_duration(found.largest_error)} at most"
    if found.synchronised:
        return [Finding(name="clock", state="PASS", text=f"kept by a time service; {error}")]
    advice = "start a time service (chronyd, systemd-timesyncd, ntpd); timedatectl and chronyc tracking show its state"
    text = "the kernel knows of no time service that keeps it"
    return [Finding(name="clock", state="WARN", text=text, advice=advice, source=_CLOCK_PAGE)]
