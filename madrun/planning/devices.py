"""Which GPUs a job gets on this host, and the flags that give them to its container.

AMD: ROCm documentation, "Running ROCm Docker containers". NVIDIA: Container Toolkit documentation, "Specialized
configurations" and "Support for Container Device Interface".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from madrun.errors import ContextError, EngineError
from madrun.planning.visible import NONE, VISIBLE, by_environment
from madrun.spec.facts import Accelerator, Engine, Gpu, HostFacts

NVIDIA_STACK = 64 << 20
CDI_KIND = "nvidia.com/gpu"
_NO_FILES = {
    "amd": " (/dev/dri/renderD*). Load the driver (modprobe amdgpu); in a container, pass /dev/kfd and /dev/dri to it. "
    "To run on the CPU on purpose, set ROCR_VISIBLE_DEVICES= (empty)",
    "nvidia": " (/dev/nvidia*). Run nvidia-smi once as root, which makes them; in a container, start it with --gpus. "
    "To run on the CPU on purpose, set CUDA_VISIBLE_DEVICES= (empty)",
}
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")


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
    process of the host itself. `present`: how many GPUs there are, those that it does not get too.
    """

    facts: HostFacts
    whole: bool = True
    note: str = ""
    env: dict[str, str] = field(default_factory=dict)
    present: int = 0


def choose(facts: HostFacts, docker_gpus: str | None) -> Chosen:
    """What `docker_gpus` asks for, else what the vendor's variables in the environment of this host leave.

    `ContextError` names a GPU that does not exist or cannot be used; a host whose GPUs cannot be used is no CPU host
    unless the vendor's variables say so.
    """
    every = facts.accelerator
    if docker_gpus is not None:
        gpus, why = _by_request(every, docker_gpus.strip()), "docker_gpus"
    else:
        gpus, why = by_environment(every, facts.process_env)
    if every.hidden and not every.gpus:
        _check_hidden_on_purpose(every, facts.process_env)
    gpus = _usable(every, gpus)
    left = every if gpus == every.gpus else replace(every, gpus=gpus) if gpus else Accelerator(notes=every.notes)
    whole = left is every and not every.hidden
    words = ",".join(str(gpu.index) for gpu in gpus) or "none"
    why = why or (
        "the others are kept from this process, or lost" if every.hidden else "the others have no device file"
    )
    return Chosen(
        facts=replace(facts, accelerator=left),
        whole=whole,
        note="" if whole else f"GPUs {words} of the {every.count + every.hidden} of this host ({why})",
        env={} if docker_gpus is None else _shown(left),
        present=every.count,
    )


def _check_hidden_on_purpose(every: Accelerator, env: Mapping[str, str]) -> None:
    """`ContextError` where this process may use no GPU of a host that has some, and nothing says that this is meant."""
    names = dict.fromkeys(name for names in VISIBLE.values() for name in names)
    if not any(name in env and env[name].partition(",")[0].strip() in NONE for name in names):
        raise ContextError(
            f"this process may use none of the {every.hidden} GPUs of this host ({'; '.join(every.notes)}); ask the "
            "scheduler for GPUs, or look why the driver does not list them. To run on the CPU on purpose, set "
            "CUDA_VISIBLE_DEVICES= (empty)"
        )


def _usable(every: Accelerator, gpus: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """Those of the wanted GPUs that a container can get; `ContextError` where none can, or MIG leaves one empty.

    An AMD GPU is given by its device file.
    """
    empty = [gpu.index for gpu in gpus if gpu.mig and not gpu.partitions]
    if empty:
        raise ContextError(
            f"GPU {empty[0]}: MIG is on and there is no MIG instance, so no process can use it. Make some "
            f"(nvidia-smi mig -i {empty[0]} -cgi PROFILE -C), turn MIG off (nvidia-smi -i {empty[0]} -mig 0), or leave "
            "the GPU out: docker_gpus or CUDA_VISIBLE_DEVICES with the others"
        )
    usable = tuple(gpu for gpu in gpus if gpu.device or (every.vendor == "nvidia" and _has_files(every)))
    if gpus and not usable:
        words = ",".join(str(gpu.index) for gpu in gpus)
        raise ContextError(f"GPU {words}: this host has no device files of these GPUs{_NO_FILES[every.vendor]}")
    return usable


def _has_files(every: Accelerator) -> bool:
    """Whether NVIDIA's driver can be reached at all: the toolkit makes the files of single GPUs by itself."""
    return bool(every.control) or any(gpu.device for gpu in every.gpus)


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
            raise ContextError(f"docker_gpus: found 'all', but {_have(accelerator)}; leave it out to run on the CPU")
        _check_files(accelerator, accelerator.gpus, text)
        return accelerator.gpus
    if not text:
        raise ContextError("docker_gpus: found '', allowed: all, or indices such as '0,2-4'")
    return _named(accelerator, text, "docker_gpus")


def _named(accelerator: Accelerator, text: str, key: str) -> tuple[Gpu, ...]:
    indices = [index for word in text.split(",") for index in _indices(word.strip(), text, key)]
    by_index = {gpu.index: gpu for gpu in accelerator.gpus}
    missing = [index for index in indices if index not in by_index]
    if missing:
        raise ContextError(f"{key}: found {missing[0]} in {text!r}, but {_have(accelerator)}")
    _check_files(accelerator, tuple(by_index[index] for index in indices), text)
    twice = [index for index in indices if indices.count(index) > 1]
    if twice:
        raise ContextError(f"{key}: found {twice[0]} twice in {text!r}; allowed: each GPU once")
    return tuple(by_index[index] for index in sorted(indices))


def _have(accelerator: Accelerator) -> str:
    indices = [gpu.index for gpu in accelerator.gpus]
    if not indices:
        hidden = accelerator.hidden
        return f"this process may use none of the {hidden} GPUs of this host" if hidden else "this host has no GPU"
    if indices == list(range(indices[0], indices[0] + len(indices))):
        return f"this host has the GPUs {indices[0]} to {indices[-1]}"
    return f"this host has the GPUs {', '.join(map(str, indices))}"


def _check_files(accelerator: Accelerator, gpus: tuple[Gpu, ...], text: str) -> None:
    missing = [gpu.index for gpu in gpus if accelerator.vendor == "amd" and not gpu.device]
    if missing:
        raise ContextError(
            f"docker_gpus: GPU {missing[0]} in {text!r} has no device file on this host; "
            f"allowed: {', '.join(str(gpu.index) for gpu in accelerator.gpus if gpu.device) or 'none'}"
        )


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
    return DeviceFlags(
        devices=files,
        groups=_groups(accelerator, engine),
        cap_add=("SYS_PTRACE",),
        security_opt=("seccomp=unconfined",),
        expected=files,
    )


def _groups(accelerator: Accelerator, engine: Engine | None) -> tuple[str, ...]:
    """In a user namespace the host's group ids mean nothing; podman can keep the caller's own groups instead."""
    rootless_podman = engine is not None and engine.rootless and engine.name == "podman"
    return ("keep-groups",) if rootless_podman and accelerator.groups else accelerator.groups


def _nvidia(accelerator: Accelerator, engine: Engine | None, whole: bool) -> DeviceFlags:
    flags = DeviceFlags(
        groups=_groups(accelerator, engine),
        ulimits=(("stack", NVIDIA_STACK),),
        expected=(*accelerator.control, *(gpu.device for gpu in accelerator.gpus if gpu.device)),
    )
    if engine is not None and _by_cdi(engine):
        return replace(flags, cdi=_cdi_names(accelerator, engine.cdi, whole))
    if whole:
        return replace(flags, gpus="all")
    return replace(flags, gpus=",".join(next(iter(names)) for names in _engine_names(accelerator)))


def _engine_names(accelerator: Accelerator) -> list[tuple[str, ...]]:
    """What the engine may call each GPU or partition, best first: its id, and its index where that is the host's.

    The engine is outside of the device cgroup that hides GPUs from this process, so it may count otherwise.
    """
    names: list[tuple[str, ...]] = []
    for gpu in accelerator.gpus:
        index = (str(gpu.index),) if not accelerator.hidden else ()
        own = (*((gpu.uuid,) if gpu.uuid else ()), *index)
        names += [(part.uuid,) for part in gpu.partitions] or [own]
        if not names[-1]:
            raise EngineError(
                f"GPU {gpu.index} cannot be named to the engine: its id is not known, and its index is not the host's, "
                f"for {accelerator.hidden} GPUs are kept from this process. Look why `nvidia-smi -L` shows no id"
            )
    return names


def _cdi_names(accelerator: Accelerator, known: tuple[str, ...], whole: bool) -> tuple[str, ...]:
    if whole and f"{CDI_KIND}=all" in known:
        return (f"{CDI_KIND}=all",)
    found = []
    for names in _engine_names(accelerator):
        devices = [f"{CDI_KIND}={name}" for name in names]
        match = next((device for device in devices if device in known), None)
        if match is None:
            raise EngineError(
                f"{' or '.join(devices)} is none of the devices in the CDI specification of this host "
                f"({', '.join(known) or 'there is none'}); a podman GPU request without it gives no GPU and no error. "
                "Make one as root: nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml; "
                "or use another --runtime"
            )
        found.append(match)
    return tuple(found)


def _by_cdi(engine: Engine) -> bool:
    """Podman takes GPUs by CDI alone; docker where its toolkit is not set up and a CDI specification is there."""
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
