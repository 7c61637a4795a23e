"""Which GPUs a job gets on this host, and the flags that give them to its container.

AMD: ROCm documentation, "Running ROCm Docker containers". NVIDIA: Container Toolkit documentation, "Specialized
configurations" and "Support for Container Device Interface".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from madrun.errors import ContextError, EngineError
from madrun.spec.facts import Accelerator, Engine, Gpu, HostFacts

# What names a subset in the environment, by vendor: each counts within what the one before it leaves.
VISIBLE = {"nvidia": ("CUDA_VISIBLE_DEVICES",), "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")}
NVIDIA_STACK = 64 << 20
CDI_KIND = "nvidia.com/gpu"
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFlags:
    """What of a container's flags comes from its devices; `expected` are the device files to be found inside."""

    gpus: str = ""
    cdi: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int], ...] = ()
    expected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The host with the GPUs that the job gets.

    `whole`: it gets all of them. `note`: what left the others out. `env`: variables that show these alone to a
    process of the host itself.
    """

    facts: HostFacts
    whole: bool = True
    note: str = ""
    env: dict[str, str] = field(default_factory=dict)


def choose(facts: HostFacts, docker_gpus: str | None) -> Chosen:
    """What `docker_gpus` asks for, else what the vendor's variables in the environment of this host leave.

    `ContextError` names a GPU that does not exist.
    """
    every = facts.accelerator
    if docker_gpus is not None:
        gpus, why = _by_request(every, docker_gpus.strip()), "docker_gpus"
    else:
        gpus, why = _by_environment(every, facts.process_env)
    why = why or "the others have no device file"
    gpus = tuple(gpu for gpu in gpus if gpu.device)
    left = every if gpus == every.gpus else replace(every, gpus=gpus) if gpus else Accelerator(notes=every.notes)
    words = ",".join(str(gpu.index) for gpu in gpus) or "none"
    return Chosen(
        facts=replace(facts, accelerator=left),
        whole=left is every,
        note="" if left is every else f"GPUs {words} of the {every.count} of this host ({why})",
        env={} if docker_gpus is None else _shown(left),
    )


def _shown(accelerator: Accelerator) -> dict[str, str]:
    """The first variable of the vendor names the GPUs; those that count within it must not stand in the way."""
    first, *within = VISIBLE.get(accelerator.vendor, ("",))
    if not first:
        return {}
    positions = ",".join(str(place) for place in range(accelerator.count))
    # CUDA counts the fastest GPU first unless told to count as nvidia-smi does.
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"} if accelerator.vendor == "nvidia" else {}
    return {first: ",".join(_ids(accelerator))} | dict.fromkeys(within, positions) | order


def _ids(accelerator: Accelerator) -> tuple[str, ...]:
    """Index of each GPU; where one is cut into partitions, the ids of these."""
    return tuple(
        word for gpu in accelerator.gpus for word in ([part.uuid for part in gpu.partitions] or [str(gpu.index)])
    )


def _by_request(accelerator: Accelerator, text: str) -> tuple[Gpu, ...]:
    if text == "all":
        if not accelerator.gpus:
            raise ContextError("docker_gpus: found 'all', but this host has no GPU; leave it out to run on the CPU")
        return accelerator.gpus
    if not text:
        raise ContextError("docker_gpus: found '', allowed: all, or indices such as '0,2-4'")
    return _named(accelerator, text, "docker_gpus")


def _by_environment(accelerator: Accelerator, env: Mapping[str, str]) -> tuple[tuple[Gpu, ...], str]:
    gpus, used = accelerator.gpus, []
    for name in VISIBLE.get(accelerator.vendor, ()):
        if name in env:
            gpus = _visible(gpus, env[name], name)
            used.append(f"{name}={env[name]}")
    return gpus, " ".join(used)


def _visible(gpus: tuple[Gpu, ...], text: str, key: str) -> tuple[Gpu, ...]:
    """As the vendor's runtime reads it: positions or ids, of partitions too; -1 ends the list."""
    found: list[Gpu] = []
    for word in (word.strip() for word in text.split(",")):
        if word in ("-1", ""):
            break
        match = next((part for place, gpu in enumerate(gpus) if (part := _matching(gpu, place, word))), None)
        if match is None:
            raise ContextError(
                f"{key}={text} in the environment: {word!r} is none of the {len(gpus)} GPUs here; "
                "unset it, or name GPUs that this host has"
            )
        found.append(match)
    return tuple(dict.fromkeys(found))


def _matching(gpu: Gpu, place: int, word: str) -> Gpu | None:
    """The GPU, or the part of it that the word names."""
    if word == str(place) or (gpu.uuid and word == gpu.uuid):
        return gpu
    parts = tuple(part for part in gpu.partitions if part.uuid == word)
    return replace(gpu, partitions=parts) if parts else None


def _named(accelerator: Accelerator, text: str, key: str) -> tuple[Gpu, ...]:
    indices = [index for word in text.split(",") for index in _indices(word.strip(), text, key)]
    by_index = {gpu.index: gpu for gpu in accelerator.gpus}
    missing = [index for index in indices if index not in by_index]
    if missing:
        have = f"the GPUs {min(by_index)} to {max(by_index)}" if by_index else "no GPU"
        raise ContextError(f"{key}: found {missing[0]} in {text!r}, but this host has {have}")
    hidden = [index for index in indices if accelerator.vendor != "cpu" and not by_index[index].device]
    if hidden:
        raise ContextError(
            f"{key}: GPU {hidden[0]} in {text!r} has no device file on this host; "
            f"allowed: {', '.join(str(gpu.index) for gpu in accelerator.gpus if gpu.device) or 'none'}"
        )
    twice = [index for index in indices if indices.count(index) > 1]
    if twice:
        raise ContextError(f"{key}: found {twice[0]} twice in {text!r}; allowed: each GPU once")
    return tuple(by_index[index] for index in sorted(indices))


def _indices(word: str, text: str, key: str) -> range:
    match = _RANGE.fullmatch(word)
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else -1
    if last < first or last - first > 4096:
        raise ContextError(f"{key}: found {word!r} in {text!r}, allowed: all, or indices such as '0,2-4'")
    return range(first, last + 1)


def container_flags(chosen: Chosen, nnodes: int) -> DeviceFlags:
    """The flags that give a container its GPUs, and with more than one node the host's RDMA devices.

    `EngineError` where the engine is known to take the request and to give nothing.
    """
    facts = chosen.facts
    fabric = facts.infiniband if nnodes > 1 else ()
    if facts.accelerator.vendor == "amd":
        flags = _amd(facts.accelerator, facts.engine)
    elif facts.accelerator.vendor == "nvidia":
        flags = _nvidia(facts.accelerator, facts.engine, chosen.whole)
    else:
        flags = DeviceFlags()
    return replace(flags, devices=(*flags.devices, *fabric), expected=(*flags.expected, *fabric))


def _amd(accelerator: Accelerator, engine: Engine | None) -> DeviceFlags:
    """Device files by themselves: a GPU whose render node is not passed is not seen inside."""
    files = (*accelerator.control, *(gpu.device for gpu in accelerator.gpus if gpu.device))
    # In a user namespace the host's group ids mean nothing; podman can keep the caller's own groups instead.
    rootless_podman = engine is not None and engine.rootless and engine.name == "podman"
    return DeviceFlags(
        devices=files,
        groups=("keep-groups",) if rootless_podman and accelerator.groups else accelerator.groups,
        cap_add=("SYS_PTRACE",),
        security_opt=("seccomp=unconfined",),
        expected=files,
    )


def _nvidia(accelerator: Accelerator, engine: Engine | None, whole: bool) -> DeviceFlags:
    ids = _ids(accelerator)
    expected = (*accelerator.control, *(gpu.device for gpu in accelerator.gpus if gpu.device))
    flags = DeviceFlags(ulimits=(("stack", NVIDIA_STACK),), expected=expected)
    if not _by_cdi(engine):
        return replace(flags, gpus="all" if whole else ",".join(ids))
    known = engine.cdi if engine is not None else ()
    wanted = ("all",) if whole and f"{CDI_KIND}=all" in known else ids
    names = tuple(f"{CDI_KIND}={word}" for word in wanted)
    missing = [name for name in names if name not in known]
    if missing:
        raise EngineError(
            f"{missing[0]} is none of the devices in the CDI specification of this host "
            f"({', '.join(known) or 'there is none'}); a podman GPU request without it gives no GPU and no error. "
            "Make one as root: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml; or use another --runtime"
        )
    return replace(flags, cdi=names)


def _by_cdi(engine: Engine | None) -> bool:
    """Podman takes GPUs by CDI alone; docker where its toolkit is not set up and a CDI specification is there."""
    if engine is None:
        return False
    has_spec = any(name.startswith(CDI_KIND + "=") for name in engine.cdi)
    return engine.name == "podman" or (has_spec and bool(engine.runtimes) and "nvidia" not in engine.runtimes)


def most_processes(accelerator: Accelerator) -> int:
    """How many processes can have a device of their own; 0 without GPUs.

    A CUDA process sees one MIG instance at most, so ranks that choose by LOCAL_RANK cannot share them out (NVIDIA
    MIG User Guide, "CUDA device enumeration").
    """
    return 1 if any(gpu.partitions for gpu in accelerator.gpus) else accelerator.count


def partition_note(accelerator: Accelerator) -> str:
    """A line on GPUs that are cut into partitions; empty where none is."""
    cut = [gpu for gpu in accelerator.gpus if gpu.partitions]
    if not cut:
        return ""
    names = "; ".join(f"GPU {gpu.index}: {', '.join(part.name for part in gpu.partitions)}" for gpu in cut)
    return f"MIG is on ({names}): a process uses one instance, and the numbers are those of an instance, not of a GPU"
