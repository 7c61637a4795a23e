"""The GPU agents that `rocminfo` prints, in the order in which HSA and HIP count them."""

from __future__ import annotations

import re

from madrun.probe.accelerator.kfd import kfd_address
from madrun.probe.accelerator.products import is_product
from madrun.spec.facts import Gpu

_AGENT = re.compile(r"^\s*Agent [0-9]+\s*$", re.MULTILINE)
_VRAM = re.compile(r"Segment:\s+GLOBAL[^\n]*\n\s*Size:\s+([0-9]{1,15})\(0x[0-9a-f]+\) KB")


def parse(text: str) -> tuple[Gpu, ...]:
    """The agents of type GPU; none where the text is something else."""
    agents = [agent for agent in _AGENT.split(text)[1:] if _value(agent, "Device Type") == "GPU"]
    return tuple(_gpu(index, agent) for index, agent in enumerate(agents))


def _gpu(index: int, agent: str) -> Gpu:
    uuid, name, bus = (_value(agent, key) for key in ("Uuid", "Marketing Name", "BDFID"))
    arch, vram = _value(agent, "Name").partition(":")[0], _VRAM.search(agent)
    return Gpu(
        index=index,
        model=name if is_product(name) else "",
        arch=arch if arch.startswith("gfx") else "",
        uuid=uuid if re.fullmatch("GPU-[0-9a-f]{16}", uuid) else "",
        bus=kfd_address(int(bus), 0) if re.fullmatch("[0-9]{1,5}", bus) else "",
        memory=int(vram[1]) << 10 if vram else 0,
    )


def _value(agent: str, key: str) -> str:
    """The first line of that key: an ISA further down has a `Name` too."""
    match = re.search(rf"^\s*{re.escape(key)}:[ \t]*(\S[^\n]*?)?[ \t\r]*$", agent, re.MULTILINE)
    return match[1] or "" if match else ""
