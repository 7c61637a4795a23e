"""The network for RDMA between nodes: its device files and its adapters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from madrun.spec.fabric import Hca


def infiniband_devices(root: Path = Path("/")) -> tuple[str, ...]:
    """Device files of InfiniBand and RoCE (`uverbs*`, `rdma_cm`, `umad*`, `issm*`), sorted; empty without any."""
    try:
        entries = sorted((root / "dev/infiniband").iterdir())
    except OSError:
        return ()
    return tuple(f"/dev/infiniband/{entry.name}" for entry in entries if not entry.is_dir())


def find_hcas(root: Path = Path("/")) -> tuple[Hca, ...]:
    """The adapters of this host, `mlx5_2` before `mlx5_10`; empty without any."""
    try:
        folders = list((root / "sys/class/infiniband").iterdir())
    except OSError:
        return ()
    from madrun.probe.adapters import read_hcas  # most hosts have none

    return read_hcas(root, folders)


def bridges_above(buses: Iterable[str], root: Path = Path("/")) -> dict[str, tuple[str, ...]]:
    """By PCI address what is above each of these devices, the host's bridge first; unknown ones are left out."""
    from madrun.probe.adapters import bridges

    found = {bus: bridges(root, bus) for bus in buses if bus}
    return {bus: above for bus, above in found.items() if above}
