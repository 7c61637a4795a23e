"""The network for RDMA between nodes: its device files."""

from __future__ import annotations

from pathlib import Path


def infiniband_devices(root: Path = Path("/")) -> tuple[str, ...]:
    """Device files of InfiniBand and RoCE (`uverbs*`, `rdma_cm`, `umad*`, `issm*`), sorted; empty without any."""
    try:
        entries = sorted((root / "dev/infiniband").iterdir())
    except OSError:
        return ()
    return tuple(f"/dev/infiniband/{entry.name}" for entry in entries if not entry.is_dir())
