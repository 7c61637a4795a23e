"""The accelerators of this host: what the kernel drivers publish first, the vendors' tools for what that leaves open.

docs/accelerators.md says where each fact is from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from madrun.probe.accelerator import amd, nvidia
from madrun.probe.accelerator.tools import Run, nvml_binding, run_tool
from madrun.spec.facts import Accelerator


def find_accelerator(
    root: Path = Path("/"),
    run: Run = run_tool,
    binding: Callable[[], object | None] = nvml_binding,
) -> Accelerator:
    """NVIDIA before AMD before none; nothing is started on a host without GPUs, and nothing here raises.

    `root` is where /proc, /sys, /dev and /opt are looked for; `run` starts a vendor's tool and gives its output or
    None; `binding` gives the `pynvml` module or None.
    """
    found = nvidia.find(root, run, binding)
    if found is None or not found.gpus:
        return amd.find(root, run) or found or Accelerator()
    beside = amd.find(root, lambda argv: None)
    if beside is None or not beside.gpus:
        return found
    return replace(found, notes=(*found.notes, f"{beside.count} AMD GPUs are left out: NVIDIA ones are there too"))
