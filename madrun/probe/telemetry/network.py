"""Bytes of network interfaces and of RDMA ports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from madrun.probe.telemetry.counters import Kept, Rate, close_all, scaled

_SATURATED = 0xFFFFFFFF  # counters of 32 bits stop there instead of wrapping
# Counters of a port, the first pair that it has: by the file of each way, and how many bytes one count is. Those of
# `counters` count words of four octets (kernel, Documentation/ABI/stable/sysfs-class-infiniband); drivers without them
# count bytes in `hw_counters`: efa and bnxt_re, ionic, irdma (names in their sources under drivers/infiniband/hw).
_PAIRS = (
    ("counters/port_rcv_data", "counters/port_xmit_data", 4),
    ("hw_counters/rx_bytes", "hw_counters/tx_bytes", 1),
    ("hw_counters/rx_rdma_ucast_bytes", "hw_counters/tx_rdma_ucast_bytes", 1),
    ("hw_counters/ip4InOctets", "hw_counters/ip4OutOctets", 1),
)


def interesting(root: Path, chosen: Iterable[str]) -> tuple[str, ...]:
    """The chosen interfaces, those with hardware behind them, and that of the default route; sorted."""
    home = root / "sys/class/net"
    names = {name.lstrip("=^") for word in chosen for name in word.split(",")}
    names |= {entry.name for entry in home.iterdir() if (entry / "device").exists()}
    try:
        routes = [line.split() for line in (root / "proc/net/route").read_text().splitlines()[1:]]
    except OSError:
        routes = []
    names |= {row[0] for row in routes if len(row) > 1 and row[1] == "00000000"}
    return tuple(sorted(name for name in names if name and (home / name).exists()))


class Network:
    """Bytes in and out of each of these interfaces, all traffic of the host included."""

    def __init__(self, names: tuple[str, ...], root: Path) -> None:
        self.columns = tuple(f"net_{name}_{way}_bytes_per_s" for name in names for way in ("rx", "tx"))
        self._names = names
        self._file = Kept(root / "proc/net/dev")
        self._rates = tuple(Rate() for _ in self.columns)

    def read(self, at: float) -> tuple[float | None, ...]:
        found = bytes_of_interfaces(self._file.text())
        values = [value for name in self._names for value in found.get(name, (None, None))]
        return tuple(rate.of(value, at) for rate, value in zip(self._rates, values, strict=True))

    def close(self) -> None:
        self._file.close()


def bytes_of_interfaces(text: str) -> dict[str, tuple[float, float]]:
    """Bytes in and out by name, of the text of /proc/net/dev."""
    found = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and len(words) > 8 and words[0].isdecimal() and words[8].isdecimal():
            found[name.strip()] = float(words[0]), float(words[8])
    return found


class Port:
    """The counters of one port of an adapter, held open."""

    def __init__(self, home: Path, pair: tuple[str, str, int]) -> None:
        self.hca, self.number = home.parents[1].name, home.name
        rx, tx, self._bytes = pair
        self._files = (Kept(home / rx), Kept(home / tx))

    def read(self) -> tuple[float | None, float | None]:
        """Bytes in and out; None where a counter cannot be read or stands at its end."""
        rx, tx = (file.number() for file in self._files)
        return self._scaled(rx), self._scaled(tx)

    def _scaled(self, value: float | None) -> float | None:
        return None if value == _SATURATED else scaled(value, self._bytes)

    def close(self) -> None:
        """Gives the files back."""
        close_all(self._files)


def open_ports(root: Path) -> list[Port]:
    """Each port of each adapter that counts bytes, sorted by name."""
    found = []
    for home in sorted((root / "sys/class/infiniband").glob("*/ports/*")):
        pair = next((pair for pair in _PAIRS if (home / pair[0]).exists()), None)
        if pair is not None:
            found.append(Port(home, pair))
    return found


class Rdma:
    """Bytes in and out of each port of each InfiniBand or RoCE adapter."""

    def __init__(self, root: Path) -> None:
        self._ports = open_ports(root)
        names = [f"rdma_{port.hca}_{port.number}" for port in self._ports]
        self.columns = tuple(f"{name}_{way}_bytes_per_s" for name in names for way in ("rx", "tx"))
        self._rates = tuple(Rate() for _ in self.columns)

    def read(self, at: float) -> tuple[float | None, ...]:
        values = [value for port in self._ports for value in port.read()]
        return tuple(rate.of(value, at) for rate, value in zip(self._rates, values, strict=True))

    def close(self) -> None:
        for port in self._ports:
            port.close()
