"""Accelerators by what the kernel drivers publish; no vendor tool is started.

NVIDIA: /proc/driver/nvidia (driver README, "The /proc interface"). AMD: the KFD topology in sysfs
(Linux kernel, Documentation/gpu/amdgpu and include/uapi/linux/kfd_sysfs.h).
"""

from __future__ import annotations

import re
from pathlib import Path

from madrun.spec.facts import Accelerator, Gpu


def find_accelerator(root: Path = Path("/")) -> Accelerator:
    """NVIDIA before AMD before none; `root` is where /proc, /sys and /dev are looked for."""
    return _nvidia(root) or _amd(root) or Accelerator()


def _nvidia(root: Path) -> Accelerator | None:
    infos = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    if not infos:
        return None
    gpus = tuple(
        Gpu(index=index, model=_value(info.read_text(), "Model"), bus=info.parent.name)
        for index, info in enumerate(infos)
    )
    version = root / "proc/driver/nvidia/version"
    match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", version.read_text() if version.exists() else "")
    return Accelerator(vendor="nvidia", gpus=gpus, driver=match[1] if match else "")


def _value(text: str, name: str) -> str:
    match = re.search(rf"^{name}:\s*(.+?)\s*$", text, re.MULTILINE)
    return match[1] if match else ""


def _amd(root: Path) -> Accelerator | None:
    nodes = sorted(
        (root / "sys/class/kfd/kfd/topology/nodes").glob("*/properties"),
        key=lambda path: int(path.parent.name),
    )
    gpus = [facts for facts in (_properties(node) for node in nodes) if facts.get("simd_count", 0) > 0]
    if not gpus:
        return None
    driver = root / "sys/module/amdgpu/version"
    archs = tuple(_gfx(facts.get("gfx_target_version", 0)) for facts in gpus)
    renders = tuple(f"/dev/dri/renderD{facts['drm_render_minor']}" for facts in gpus if "drm_render_minor" in facts)
    return Accelerator(
        vendor="amd",
        gpus=tuple(
            Gpu(index=index, model=arch, arch=arch, device=device)
            for index, (arch, device) in enumerate(zip(archs, renders, strict=False))
        ),
        driver=driver.read_text().strip() if driver.exists() else "",
        control=("/dev/kfd",),
        groups=_device_groups(root, ("/dev/kfd", *renders)),
    )


def _properties(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].lstrip("-").isdigit()}


def _gfx(version: int) -> str:
    """90402 -> gfx942: major, minor and stepping, the last two as hexadecimal digits."""
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def _device_groups(root: Path, devices: tuple[str, ...]) -> tuple[str, ...]:
    """Numeric ids of the groups that own the devices on this host; names differ between host and image."""
    gids = {(root / device.lstrip("/")).stat().st_gid for device in devices if (root / device.lstrip("/")).exists()}
    return tuple(str(gid) for gid in sorted(gids) if gid != 0)
