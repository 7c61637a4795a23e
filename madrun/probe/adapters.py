"""The adapters for RDMA as sysfs shows them.

Files: kernel, Documentation/ABI/stable/sysfs-class-infiniband. Their words: drivers/infiniband/core/sysfs.c, where
`rate` is `400 Gb/sec (4X NDR)`, `state` is `4: ACTIVE` and an empty entry of `gid_attrs` cannot be read. What cannot be
read stays unknown. A tree of plain directories is read too: then the PCI address is that of `device/uevent`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path

from madrun.spec.fabric import Gid, Hca, HcaPort

_ENUM = re.compile(r"[0-9]+: *(.+)")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *Gb/sec(?: *\( *([^)]*?) *\))?")
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_HOST_BRIDGE = re.compile(r"pci[0-9a-f]{4,8}:[0-9a-f]{2}")
_UNUSED = 32  # a table has 256 entries and more; after so many unused ones in a row no more is looked for
_MOST = 4096


def read_hcas(root: Path, folders: Iterable[Path]) -> tuple[Hca, ...]:
    """The adapters in these folders of /sys/class/infiniband, `mlx5_2` before `mlx5_10`."""
    defaults = _default_route(root)
    return tuple(_hca(root, folder, defaults) for folder in sorted(folders, key=lambda folder: _natural(folder.name)))


def bridges(root: Path, bus: str) -> tuple[str, ...]:
    """What of the PCI tree is above this device, the host's bridge first; empty where the kernel does not know it."""
    return _bridges(_device_path(root, bus))


def parse_rate(text: str) -> tuple[float | None, str]:
    """Gb/s and lanes of `400 Gb/sec (4X NDR)`; None where it is not of that form."""
    match = _RATE.fullmatch(text.strip())
    return (float(match[1]), " ".join((match[2] or "").split())) if match else (None, "")


def parse_word(text: str) -> str:
    """`ACTIVE` of `4: ACTIVE`; empty where it is not of that form, or the kernel does not know it either."""
    match = _ENUM.fullmatch(text.strip())
    return match[1] if match and not match[1].startswith("<") else ""


def parse_gid(text: str) -> str:
    """A GID as an IPv6 literal, an IPv4 address mapped; empty for an unused entry and for what is none.

    An entry whose lower half is zero is a subnet prefix without a port: unused too.
    """
    try:
        address = ipaddress.IPv6Address(text.strip())
    except ValueError:
        return ""
    if not int(address) & (1 << 64) - 1:
        return ""
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)


def _hca(root: Path, folder: Path, defaults: frozenset[str]) -> Hca:
    device = folder / "device"
    uevent = dict(line.split("=", 1) for line in _text(device / "uevent").splitlines() if "=" in line)
    real = os.path.realpath(device)
    bus = next((part for part in reversed(real.split("/")) if _PCI.fullmatch(part)), "")
    if not bus:
        bus = uevent.get("PCI_SLOT_NAME", "")
        real = _device_path(root, bus)
    numa = _number(device / "numa_node")
    return Hca(
        name=folder.name,
        driver=uevent.get("DRIVER", "") or _link(device / "driver"),
        vendor=_text(device / "vendor"),
        device=_text(device / "device"),
        board=_text(folder / "board_id"),
        firmware=_text(folder / "fw_ver"),
        model=_text(folder / "hca_type"),
        node_type=parse_word(_text(folder / "node_type")),
        node_guid=_text(folder / "node_guid"),
        numa=numa if numa is not None and numa >= 0 else None,  # -1: the firmware does not say
        bus=bus,
        bridges=_bridges(real),
        physical=_link(device / "physfn"),
        ports=tuple(
            _port(int(port.name), port, device, defaults)
            for port in sorted(_listed(folder / "ports"), key=lambda port: _natural(port.name))
            if port.name.isdecimal()
        ),
    )


def _port(number: int, folder: Path, device: Path, defaults: frozenset[str]) -> HcaPort:
    rate, lanes = parse_rate(_text(folder / "rate"))
    link_layer = _text(folder / "link_layer")
    gids = _gids(folder, 1 if link_layer == "InfiniBand" else _MOST)
    named = list(dict.fromkeys(gid.netdev for gid in gids if gid.netdev))
    netdev = named[0] if named else _netdev(device, number)
    return HcaPort(
        number=number,
        state=parse_word(_text(folder / "state")),
        phys_state=parse_word(_text(folder / "phys_state")),
        link_layer=link_layer if link_layer in ("InfiniBand", "Ethernet") else "",
        rate=rate,
        lanes=lanes,
        lid=_number(folder / "lid"),
        gids=gids,
        netdev=netdev,
        default_route=not defaults.isdisjoint([*named, netdev]),
    )


def _gids(port: Path, most: int) -> tuple[Gid, ...]:
    """The used entries of the table; of InfiniBand the first alone, which is the port's own."""
    found: list[Gid] = []
    unused = 0
    indices = sorted(int(entry.name) for entry in _listed(port / "gids") if entry.name.isdecimal())
    for index in indices[:most]:
        address = parse_gid(_text(port / "gids" / str(index)))
        if address:
            kind, netdev = (_text(port / "gid_attrs" / name / str(index)) for name in ("types", "ndevs"))
            found.append(Gid(index=index, address=address, kind=kind, netdev=netdev))
        unused = 0 if address else unused + 1
        if unused >= _UNUSED:
            break
    return tuple(found)


def _netdev(device: Path, port: int) -> str:
    """The interface of the same port; `dev_port` counts from 0. Empty where several could be it."""
    entries = _listed(device / "net")
    if len(entries) > 1:
        entries = [entry for entry in entries if _number(entry / "dev_port") == port - 1]
    return entries[0].name if len(entries) == 1 else ""


def _default_route(root: Path) -> frozenset[str]:
    """Interfaces of the default routes, with what they stand on: VLAN and bond over their members."""
    rows = [line.split() for line in _text(root / "proc/net/route").splitlines()[1:]]
    names = {row[0] for row in rows if len(row) > 7 and row[1] == row[7] == "00000000"}
    rows = [line.split() for line in _text(root / "proc/net/ipv6_route").splitlines()]
    # unreachable ones stand on lo
    names |= {row[-1] for row in rows if len(row) > 9 and row[0] == "0" * 32 and row[1] == "00" and row[-1] != "lo"}
    waiting = list(names)
    while waiting:
        below = {entry.name[6:] for entry in (root / "sys/class/net" / waiting.pop()).glob("lower_*")} - names
        names |= below
        waiting += below
    return frozenset(names)


def _device_path(root: Path, bus: str) -> str:
    """Where the kernel has the device; empty where it does not know it."""
    place = root / "sys/bus/pci/devices" / bus
    return os.path.realpath(place) if _PCI.fullmatch(bus) and place.exists() else ""


def _bridges(path: str) -> tuple[str, ...]:
    """Host bridge and PCI bridges of a path of sysfs, without the device itself."""
    parts = [part for part in path.split("/") if _PCI.fullmatch(part) or _HOST_BRIDGE.fullmatch(part)]
    return tuple(parts[:-1])


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(word) if word.isdecimal() else -1, word) for word in re.split(r"([0-9]+)", name)]


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _link(path: Path) -> str:
    """The last name of where a link leads; empty where it is none."""
    try:
        return path.readlink().name
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    """Decimal, or hexadecimal with `0x` in front, as of a LID."""
    try:
        return int(_text(path), 0)
    except ValueError:
        return None


def _text(path: Path) -> str:
    """The file's text; empty where it cannot be read. An unused entry of a table gives an error of its own."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
