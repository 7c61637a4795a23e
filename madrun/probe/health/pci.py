"""GPUs that the PCI bus lists, and what stands between devices: the IOMMU and Access Control Services.

Formats: kernel, Documentation/ABI/testing/sysfs-bus-pci and sysfs-kernel-iommu_groups; include/uapi/linux/pci_regs.h
for the configuration space.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from madrun.probe.health.kernel import GUEST, is_guest
from madrun.probe.health.source import Source, Unreadable
from madrun.spec.health import NO_GROUP, Acs, Iommu, PciGpus

_DEVICES = "sys/bus/pci/devices"
_VENDORS = {"0x1002": "amd", "0x10de": "nvidia"}
_GPU_CLASSES = ("0x0300", "0x0302", "0x0380", "0x1200")  # VGA, 3D, display, processing accelerator
_SCREEN_CLASS, _BRIDGE_CLASS = "0x0300", "0x0604"
_KINDS = (NO_GROUP, "identity", "DMA", "DMA-FQ", "auto", "blocked", "unmanaged")
# Extended capabilities begin at 0x100; each has id (16 bits), version (4) and the place of the next (12).
_EXTENDED, _SHORT, _ACS_ID, _ACS_CONTROL = 0x100, 64, 0x000D, 6
_REDIRECT = 0x04 | 0x08  # requests, completions


def gpus(source: Source) -> PciGpus:
    """GPUs of AMD and NVIDIA on the bus, with a driver or without; a host without PCI has none."""
    if not source.exists("sys/bus/pci") and source.names("sys/bus"):
        return PciGpus()
    found: dict[str, list[str]] = defaultdict(list)
    bound, screens = [], []
    for address in _listed(source):
        vendor = _VENDORS.get(_id(source, address, "vendor"))
        kind = _id(source, address, "class") if vendor else ""
        if vendor is None or not kind.startswith(_GPU_CLASSES):
            continue
        found[vendor].append(address)
        screens += [address] if kind.startswith(_SCREEN_CLASS) else []
        if source.link(f"{_DEVICES}/{address}/driver"):
            bound.append(address)
    return PciGpus(
        addresses={name: tuple(listed) for name, listed in found.items()}, bound=tuple(bound), screens=tuple(screens)
    )


def _listed(source: Source) -> list[str]:
    """A host with PCI has its bridge at least: an empty list is of a /sys that is masked."""
    addresses = source.names(_DEVICES)
    if not addresses:
        raise Unreadable(f"/{_DEVICES}: no device at all is listed")
    return addresses


def _id(source: Source, address: str, name: str) -> str:
    text = source.text(f"{_DEVICES}/{address}/{name}")
    if not text.startswith("0x"):
        raise Unreadable(f"/{_DEVICES}/{address}/{name}: found {text[:40]!r}, which is no PCI id")
    return text


def iommu(source: Source, devices: Iterable[str]) -> Iommu:
    """The kind of the IOMMU group of each of these devices."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for address in devices:
        if not source.exists(f"{_DEVICES}/{address}"):
            raise Unreadable(f"/{_DEVICES}/{address}: No such file or directory")
        group = f"{_DEVICES}/{address}/iommu_group"
        kind = source.text(f"{group}/type") if source.exists(group) else NO_GROUP
        if kind not in _KINDS:
            raise Unreadable(f"/{group}/type: found {kind[:40]!r}")
        kinds[kind].append(address)
    if set(kinds) <= {NO_GROUP} and is_guest(source):
        raise Unreadable(f"/{_DEVICES}: no device is in an IOMMU group ({GUEST})")
    return Iommu(kinds={kind: tuple(addresses) for kind, addresses in kinds.items()})


def acs(source: Source) -> Acs:
    """The bridges with the capability, by their configuration space, of which only root sees more than 64 bytes."""
    able, redirecting = [], []
    for address in _listed(source):
        if not _id(source, address, "class").startswith(_BRIDGE_CLASS):
            continue
        control = acs_control(_config(source, address))
        if control is not None:
            able.append(address)
            if control & _REDIRECT:
                redirecting.append(address)
    if not able and is_guest(source):
        raise Unreadable(f"/{_DEVICES}: no bridge has ACS ({GUEST})")
    return Acs(able=tuple(able), redirecting=tuple(redirecting))


def _config(source: Source, address: str) -> bytes:
    path = f"{_DEVICES}/{address}/config"
    try:
        found = source.bytes_of(path)
    except OSError as error:
        raise Unreadable(f"/{path}: {error.strerror}") from None
    if len(found) <= _SHORT:
        raise Unreadable("only root may read the PCI configuration; as root: lspci -vvv | grep ACSCtl")
    return found


def acs_control(config: bytes) -> int | None:
    """The control register of Access Control Services; None where the device has none of it."""
    place, seen = _EXTENDED, set()
    while _EXTENDED <= place <= len(config) - 8 and place not in seen:
        seen.add(place)
        head = int.from_bytes(config[place : place + 4], "little")
        if head & 0xFFFF == _ACS_ID:
            return int.from_bytes(config[place + _ACS_CONTROL : place + _ACS_CONTROL + 2], "little")
        place = head >> 20 & 0xFFC
    return None
