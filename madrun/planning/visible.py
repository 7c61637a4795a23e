"""Which GPUs the environment of this host leaves, read as the vendors' runtimes read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from madrun.errors import ContextError
from madrun.spec.facts import Accelerator, Gpu

# What names a subset in the environment, by vendor: each counts within what the one before it leaves.
VISIBLE = {"nvidia": ("CUDA_VISIBLE_DEVICES",), "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")}
NONE = ("", "-1", "NoDevFiles")  # the last is Slurm's word for a job without GPUs


def by_environment(accelerator: Accelerator, env: Mapping[str, str]) -> tuple[tuple[Gpu, ...], str]:
    """The GPUs that the variables leave to a process of this host, and the variables that say so.

    `ContextError` where one names a GPU that is not here.
    """
    gpus, used = accelerator.gpus, []
    for name in _read(accelerator.vendor, env):
        gpus = _visible(gpus, env[name], name, exact=accelerator.vendor == "amd")
        used.append(f"{name}={env[name]}")
    return gpus, " ".join(used)


def _read(vendor: str, env: Mapping[str, str]) -> list[str]:
    """The variables that the vendor's runtime reads here.

    An empty HIP_VISIBLE_DEVICES is to HIP as none, and CUDA_VISIBLE_DEVICES then counts (ROCm/clr,
    rocclr/device/rocm/rocdevice.cpp, Device::init); to ROCR and CUDA an empty variable hides every GPU.
    """
    if vendor != "amd":
        return [name for name in VISIBLE.get(vendor, ()) if name in env]
    first, hip = VISIBLE[vendor]
    within = next((name for name in (hip, "CUDA_VISIBLE_DEVICES") if env.get(name)), None)
    return [*([first] if first in env else []), *([within] if within else [])]


def _visible(gpus: tuple[Gpu, ...], text: str, key: str, exact: bool) -> tuple[Gpu, ...]:
    """As the vendor's runtime reads it: positions or ids, of partitions too; -1 ends the list.

    `exact`: AMD's ids, in any case of letters; CUDA takes the beginning of an id where no other begins so.
    """
    found: dict[int, Gpu] = {}
    for word in (word.strip() for word in text.split(",")):
        if word in NONE:
            break
        match = _matching(gpus, word, exact)
        if match is None:
            raise ContextError(
                f"{key}={text} in the environment: {word!r} is none of the {len(gpus)} GPUs here; "
                "unset it, or name GPUs that this host has"
            )
        before = found.get(match.index)
        parts = (*before.partitions, *match.partitions) if before else match.partitions
        found[match.index] = replace(match, partitions=tuple(dict.fromkeys(parts)))
    return tuple(found.values())


def _matching(gpus: tuple[Gpu, ...], word: str, exact: bool) -> Gpu | None:
    """The GPU, or the part of one, that the word names; None where it names none or several."""
    if word.isdecimal():
        return next((gpu for place, gpu in enumerate(gpus) if word == str(place)), None)
    if exact:
        return next((gpu for gpu in gpus if gpu.uuid.lower() == word.lower()), None)
    named = [(gpu.uuid, gpu) for gpu in gpus]
    named += [(part.uuid, replace(gpu, partitions=(part,))) for gpu in gpus for part in gpu.partitions]
    begun = [(uuid, gpu) for uuid, gpu in named if word.startswith(("GPU-", "MIG-")) and uuid.startswith(word)]
    whole = [gpu for uuid, gpu in begun if uuid == word]
    return whole[0] if whole else begun[0][1] if len(begun) == 1 else None
