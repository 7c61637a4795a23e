"""Reading what a kernel driver publishes: small files that may be missing, unreadable or not text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_PCI = re.compile(r"([0-9a-f]{1,8}):([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE | re.ASCII)


def read(path: Path) -> str:
    """The file's text without white space around it; empty where it cannot be read."""
    try:
        return path.read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""


def folders(path: Path) -> tuple[Path, ...]:
    """What lies in a folder, numbers in the order of numbers; empty where it cannot be listed."""
    try:
        return tuple(sorted(path.iterdir(), key=lambda entry: (len(entry.name), entry.name)))
    except OSError:
        return ()


def numbers(text: str) -> dict[str, int]:
    """Lines `name value` of a KFD properties file; a line of another form is left out."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and re.fullmatch("-?[0-9]{1,20}", pair[1])}


def pci_address(text: str) -> str:
    """The PCI address as sysfs spells it, `0000:1b:00.0`, from any tool's spelling; empty where there is none."""
    match = _PCI.search(text)
    if match is None:
        return ""
    domain, bus, device, function = (int(part, 16) for part in match.groups())
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}"


def numa_node(root: Path, bus: str) -> int | None:
    """NUMA node of a PCI device; None where the host has none or says nothing."""
    text = read(root / "sys/bus/pci/devices" / bus / "numa_node") if bus else ""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None


def present(root: Path, devices: Iterable[str]) -> tuple[str, ...]:
    """Those of the device files that are there."""
    return tuple(device for device in devices if (root / device.lstrip("/")).exists())


def owning_groups(root: Path, devices: Iterable[str]) -> tuple[str, ...]:
    """Numeric ids of the groups that own the device files, without root's: names differ between host and image."""
    gids = {(root / device.lstrip("/")).stat().st_gid for device in present(root, devices)}
    return tuple(str(gid) for gid in sorted(gids) if gid)
