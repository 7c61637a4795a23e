"""Bytes of network interfaces and of RDMA ports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from madrun.probe.telemetry.counters import Kept, Rate, close_all, scaled

_SATURATED = 0xFFFFFFFF  # counters of 32 bits stop there instead of wrapping
_WORD = 4  # port_rcv_data and port_xmit_data count words of four octets


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
        found = {}
        for line in self._file.text().splitlines():
            name, colon, rest = line.partition(":")
            words = rest.split()
            if colon and len(words) > 8:
                found[name.strip()] = float(words[0]), float(words[8])
        values = [value for name in self._names for value in found.get(name, (None, None))]
        return tuple(rate.of(value, at) for rate, value in zip(self._rates, values, strict=True))

    def close(self) -> None:
        self._file.close()


class Rdma:
    """Bytes in and out of each port of each InfiniBand or RoCE adapter."""

    def __init__(self, root: Path) -> None:
        home = root / "sys/class/infiniband"
        ports = sorted(home.glob("*/ports/*/counters")) if home.exists() else []
        names = [f"rdma_{folder.parents[2].name}_{folder.parent.name}" for folder in ports]
        self.columns = tuple(f"{name}_{way}_bytes_per_s" for name in names for way in ("rx", "tx"))
        counters = ("port_rcv_data", "port_xmit_data")
        self._files = [Kept(folder / name) for folder in ports for name in counters]
        self._rates = tuple(Rate() for _ in self.columns)

    def read(self, at: float) -> tuple[float | None, ...]:
        counted = (file.number() for file in self._files)
        words = [None if value == _SATURATED else value for value in counted]
        return tuple(rate.of(scaled(value, _WORD), at) for rate, value in zip(self._rates, words, strict=True))

    def close(self) -> None:
        close_all(self._files)
