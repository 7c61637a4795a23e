"""Bytes of interfaces and RDMA ports before and after a script."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from madrun.probe.telemetry.network import bytes_of_interfaces, interesting, open_ports
from madrun.spec.transport import Moved

Pair = tuple[float | None, float | None]
_OVER_INFINIBAND = "32"  # ARPHRD_INFINIBAND: such an interface's bytes are among those of its port


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Bytes in and out so far, by interface and by port (`mlx5_0:1`); `ipoib`: interfaces that run over such ports."""

    interfaces: dict[str, Pair]
    ports: dict[str, Pair]
    ipoib: tuple[str, ...] = ()


def read_counters(chosen: Iterable[str], root: Path = Path("/")) -> Counters:
    """As they stand now: of the chosen interfaces, of those with hardware, of the default route's, and of all ports.

    Where there are ports, all interfaces of IP over InfiniBand count too. What cannot be read is left out.
    """
    names: tuple[str, ...] = ()
    told: dict[str, tuple[float, float]] = {}
    with suppress(OSError):
        told = bytes_of_interfaces((root / "proc/net/dev").read_text())
        names = interesting(root, chosen)
    ports = {}
    for port in open_ports(root):
        ports[f"{port.hca}:{port.number}"] = port.read()
        port.close()
    ipoib = tuple(name for name in told if _is_ipoib(root / "sys/class/net" / name)) if ports else ()
    return Counters(
        interfaces={name: told[name] for name in sorted({*names, *ipoib}) if name in told}, ports=ports, ipoib=ipoib
    )


def _is_ipoib(home: Path) -> bool:
    """A bond of such interfaces has their type, and its bytes are theirs."""
    if (home / "bonding").exists():
        return False
    try:
        return (home / "type").read_text().strip() == _OVER_INFINIBAND
    except OSError:
        return False


def moved(before: Counters, after: Counters) -> tuple[dict[str, Moved], int | None]:
    """Bytes by interface and port in between, and those of all ports without IPoIB, the greater way.

    None where a counter was reset or could not be read; the sum is None where no port could be.
    """
    interfaces = {name: _grown(before.interfaces.get(name), pair) for name, pair in after.interfaces.items()}
    ports = {name: _grown(before.ports.get(name), pair) for name, pair in after.ports.items()}
    readable = [one for one in ports.values() if (one.received, one.sent) != (None, None)]
    if not readable:
        return interfaces | ports, None
    over = [interfaces[name] for name in after.ipoib if name in interfaces]
    ways = [
        sum(one.received or 0 for one in readable) - sum(one.received or 0 for one in over),
        sum(one.sent or 0 for one in readable) - sum(one.sent or 0 for one in over),
    ]
    return interfaces | ports, max(0, *ways)


def _grown(before: Pair | None, after: Pair) -> Moved:
    received, sent = (_difference(old, new) for old, new in zip(before or (None, None), after, strict=True))
    return Moved(received=received, sent=sent)


def _difference(before: float | None, after: float | None) -> int | None:
    return None if before is None or after is None or after < before else int(after - before)
