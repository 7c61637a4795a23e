"""GPUs on the PCI bus, and what stands between devices that talk to each other."""

from __future__ import annotations

from collections.abc import Sequence

from madrun.doctor.asked import Asked
from madrun.spec.facts import HostFacts
from madrun.spec.finding import Finding
from madrun.spec.health import NO_GROUP, Acs, Iommu, PciGpus

_DRIVER_PAGES = {
    "nvidia": "https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/",
    "amd": "https://rocm.docs.amd.com/projects/install-on-linux/en/latest/",
}
_HIDDEN_PAGE = "https://docs.kernel.org/admin-guide/cgroup-v2.html (device controller)"
_IOMMU_PAGE = "https://docs.kernel.org/admin-guide/kernel-parameters.html (iommu=pt)"
_ACS_PAGE = (
    "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/troubleshooting.html (PCI Access Control Services)"
)
_CUT = "compute partition mode"
_SHOWN = 4


def gpus(found: PciGpus, facts: HostFacts, asked: Asked) -> list[Finding]:
    """What the bus lists against what the driver offers, and what the probe has noted."""
    known = facts.accelerator
    if not found.addresses and not known.gpus and not known.hidden:
        return [Finding(name="GPUs", state="PASS", text="none on the PCI bus; nothing of GPUs is looked at")]
    if not known.gpus:
        return [_hidden(facts) if known.hidden else _unusable(found)]
    text = f"{known.count} x {known.model or known.arch}, driver {known.driver or '?'}"
    listed = found.addresses.get(known.vendor, ())
    lost = len(listed) - len({gpu.bus[:-1] for gpu in known.gpus if gpu.bus}) - known.hidden
    cut = [note for note in known.notes if note.startswith(_CUT)]  # on purpose, and told
    notes = [note for note in known.notes if note not in cut]
    notes += [f"the PCI bus lists {len(listed)}"] if lost > 0 else []
    text = "; ".join((text, *cut))
    if known.hidden or notes:
        text = "; ".join((text, *notes, *([f"{known.hidden} hidden from this process"] if known.hidden else [])))
        advice = "ask for all devices (scheduler, container), or look at dmesg for the GPUs that are missing"
        source = _DRIVER_PAGES.get(known.vendor, "")
        return [Finding(name="GPUs", state="WARN", text=text, advice=advice, source=source)]
    return [Finding(name="GPUs", state="PASS", text=text)]


def _hidden(facts: HostFacts) -> Finding:
    """The driver has GPUs that this process is kept from, as a scheduler or a container does on purpose."""
    known = facts.accelerator
    text = "; ".join((f"{known.hidden} hidden from this process, and none is left", *known.notes))
    advice = "ask the scheduler or the container for the devices, where the run is to use them"
    return Finding(name="GPUs", state="WARN", text=text, advice=advice, source=_HIDDEN_PAGE)


def _unusable(found: PciGpus) -> Finding:
    """A graphics card of a host may be there for a screen alone, and then nothing is wrong."""
    vendor, addresses = max(found.addresses.items(), key=lambda pair: len(pair[1]))
    why = "their driver offers none to this process" if set(addresses) & set(found.bound) else "no driver has them"
    return Finding(
        name="GPUs",
        state="WARN" if set(addresses) <= set(found.screens) else "FAIL",
        text=f"{len(addresses)} of {vendor} on the PCI bus, and {why}",
        advice="load or install the driver, and look at dmesg; in a container or under a scheduler ask for the devices",
        source=_DRIVER_PAGES[vendor],
    )


def iommu(found: Iommu, facts: HostFacts, asked: Asked) -> list[Finding]:
    """Translated addresses slow the way between GPUs and adapters, or close it."""
    name = "IOMMU"
    translated = [address for kind in ("DMA", "DMA-FQ") for address in found.kinds.get(kind, ())]
    passed = found.kinds.get("identity", ())
    if translated:
        text = f"it translates the addresses of {_some(translated)}"
        advice = "add iommu=pt to the kernel's command line (with amd_iommu=on or intel_iommu=on), and boot again"
        return [Finding(name=name, state="WARN", text=text, advice=advice, source=_IOMMU_PAGE)]
    odd = [
        f"{_some(addresses)}: {kind}" for kind, addresses in found.kinds.items() if kind not in (NO_GROUP, "identity")
    ]
    if odd:
        return [Finding(name=name, state="UNKNOWN", text=f"what it does is not known for {'; '.join(odd)}")]
    return [Finding(name=name, state="PASS", text="passes the devices through" if passed else "none at work")]


def acs(found: Acs, facts: HostFacts, asked: Asked) -> list[Finding]:
    """A bridge that redirects sends what goes from device to device up to the CPU first."""
    name = "PCI ACS"
    if not found.redirecting:
        text = f"none of {len(found.able)} bridges redirects" if found.able else "no bridge is able to redirect"
        return [Finding(name=name, state="PASS", text=text)]
    text = f"{len(found.redirecting)} of {len(found.able)} bridges redirect: {_some(found.redirecting)}"
    advice = (
        "switch ACS off in the firmware, or for each bridge as root: setpci -s BRIDGE ECAP_ACS+0x6.w=0000; "
        "leave it on where devices are handed to virtual machines"
    )
    return [Finding(name=name, state="WARN", text=text, advice=advice, source=_ACS_PAGE)]


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"{', '.join(words[:_SHOWN])}{more}"
