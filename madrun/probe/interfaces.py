"""Network interfaces of this host: addresses from the kernel, and from sysfs what each of them is.

Files: Linux Documentation/ABI/testing/sysfs-class-net; numbers of `type`: include/uapi/linux/if_arp.h (ARPHRD_*);
`DEVTYPE` of uevent is what a driver of virtual devices calls them (bridge, bond, vlan, macvlan, vxlan, wireguard).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path

from madrun.spec.facts import Interface

_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_KIND_BY_TYPE = {
    "772": "loopback",
    "32": "infiniband",
    "512": "tunnel",  # PPP
    "768": "tunnel",  # IP in IP
    "769": "tunnel",
    "776": "tunnel",  # IPv6 in IPv4
    "778": "tunnel",  # GRE
    "823": "tunnel",
    "65534": "tunnel",  # no link layer, as tun
}
_KIND_BY_DEVTYPE = {"wlan": "wireless"}
_UP = 0x1  # IFF_UP
_STACKED = ("bond", "vlan", "infiniband")  # leads out of the host without hardware of its own
_TIMED = ("ethernet", "infiniband", "bond", "vlan")  # whose speed says something

Addresses = Mapping[str, tuple[tuple[str, str], ...]]  # by interface: literal and network


def interfaces(root: Path = Path("/"), found: Addresses | None = None) -> tuple[Interface, ...]:
    """Interfaces that have an address, in the kernel's order, with what sysfs below `root` says of them.

    Also those that are down at this moment: a cable that was just plugged in takes a second to be reported up. `found`
    stands for the addresses of this host.
    """
    entries = addresses() if found is None else found
    return tuple(_described(name, pairs, root) for name, pairs in entries.items() if pairs)


def addresses() -> dict[str, tuple[tuple[str, str], ...]]:
    """Of every interface of this host its IPv4 and IPv6 addresses as literals, each with its network as CIDR."""
    import psutil

    return {
        name: tuple(
            (literal, network_of(literal, entry.netmask or ""))
            for entry in entries
            if entry.family in _FAMILIES and (literal := entry.address.partition("%")[0])
        )
        for name, entries in psutil.net_if_addrs().items()
    }


def network_of(address: str, netmask: str) -> str:
    """`10.0.0.0/24` from an address and a mask as the C library writes it (`255.255.255.0`, `ffff:ffff::`).

    Empty where these are none, or the mask has holes.
    """
    try:
        literal, mask = ipaddress.ip_address(address), ipaddress.ip_address(netmask)
    except ValueError:
        return ""
    ones = int(mask).bit_count()
    width = literal.max_prefixlen
    if mask.version != literal.version or int(mask) != ((1 << ones) - 1) << (width - ones):
        return ""
    return str(ipaddress.ip_network(f"{literal}/{ones}", strict=False))


def interface_states() -> dict[str, str]:
    """Of every interface of this host: `up`, `down`, or why it has no address.

    Up as the administrator said it: a cable that was just plugged in takes a second until it carries something.
    """
    import psutil

    known = {name for name, pairs in addresses().items() if pairs}
    states = {}
    for name, found in psutil.net_if_stats().items():
        states[name] = "up" if "up" in found.flags.split(",") else "down"
        if name not in known:
            states[name] = addressless(name)
    return states


def addressless(name: str, root: Path = Path("/")) -> str:
    """`without an address`, and where it is a part of a bond or bridge also of which."""
    home = root / "sys/class/net" / name
    master = _link(home / "master")
    if not master:
        return "without an address"
    return f"without an address: a part of {_kind(home.with_name(master))} {master}"


def _described(name: str, pairs: tuple[tuple[str, str], ...], root: Path) -> Interface:
    literals, networks = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    home = root / "sys/class/net" / name
    # Another namespace's /sys may be mounted here: then its interface of this name is another one.
    if root == Path("/") and _text(home / "ifindex") != _index(name):
        return Interface(name=name, addresses=literals, networks=networks)
    kind = _kind(home)
    flags = _text(home / "flags")
    carrier = _text(home / "carrier")
    return Interface(
        name=name,
        addresses=literals,
        networks=networks,
        kind=kind,
        master=_link(home / "master"),
        lower=_lower(home, kind),
        up=bool(int(flags, 16) & _UP) if _is_hexadecimal(flags) else None,
        carrier=carrier == "1" if carrier in ("0", "1") else None,
        mtu=max(0, _number(home / "mtu")),
        speed=max(0, _number(home / "speed")) if kind in _TIMED else 0,
    )


def _kind(home: Path) -> str:
    """What the interface is; empty where sysfs does not know it."""
    if not home.exists():
        return ""
    for place, kind in (("bridge", "bridge"), ("bonding", "bond")):
        if (home / place).exists():
            return kind
    lines = _text(home / "uevent").splitlines()
    called = next((line.partition("=")[2] for line in lines if line.startswith("DEVTYPE=")), "")
    if called:
        return _KIND_BY_DEVTYPE.get(called, called)
    if kind := _KIND_BY_TYPE.get(_text(home / "type"), ""):
        return kind
    # veth, as every container has one, macvlan and tap say nothing of themselves.
    return "ethernet" if (home / "device").exists() else "virtual"


def _lower(home: Path, kind: str) -> tuple[str, ...]:
    """What the interface stands on; of a bridge, which may have hundreds of containers, only what leads out."""
    try:
        names = sorted(entry.name.removeprefix("lower_") for entry in home.glob("lower_*"))
        names = names or sorted(entry.name for entry in home.glob("brif/*"))
    except OSError:
        return ()
    if kind == "bridge":
        names = [name for name in names if _leads_out(home.with_name(name))]
    return tuple(names)


def _leads_out(home: Path) -> bool:
    return (home / "device").exists() or _kind(home) in _STACKED


def _link(path: Path) -> str:
    """The name of what a link in sysfs leads to; empty without it."""
    try:
        return path.readlink().name
    except OSError:
        return ""


def _index(name: str) -> str:
    try:
        return str(socket.if_nametoindex(name))
    except OSError:
        return ""


def _text(path: Path) -> str:
    """The file's text without blanks around it; empty where it cannot be read, as `carrier` of what is down."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    try:
        return int(_text(path))
    except ValueError:
        return 0


def _is_hexadecimal(text: str) -> bool:
    try:
        int(text, 16)
    except ValueError:
        return False
    return True
