"""Nodes that are containers of the job's image from the start: of pyxis, or of apptainer.

pyxis is a plugin of srun (https://github.com/NVIDIA/pyxis) that starts enroot; apptainer a program of its own
(https://apptainer.org/docs). With `docker` a node is the host, and madrun starts the container there.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from madrun.backends.jobimage import job_image
from madrun.backends.slurm.settings import SlurmSettings
from madrun.errors import ContextError
from madrun.spec.context import mount_source
from madrun.spec.launch import CARRIED, PROGRAM, Launch

_SEPARATORS = re.compile(r"[,:\s]")  # between mounts, and between the parts of one, in both
_GPU_FLAGS = {"nvidia": ("--nv",), "amd": ("--rocm",)}
_AMD_DEVICES = ("/dev/kfd", "/dev/dri")
_SCHEME = re.compile(r"[a-z]+://")


def srun_words(launch: Launch, settings: SlurmSettings) -> tuple[str, ...]:
    """What srun needs beside its own for pyxis; `ContextError` where there is no image, or a path cannot be said."""
    if settings.containers != "pyxis":
        return ()
    vendor, image = job_image(launch, settings.image, settings.vendor)
    devices = _AMD_DEVICES if vendor == "amd" else ()  # enroot's own hooks know NVIDIA's alone
    mounts = [*(f"{path}:{path}" for path in devices), *_mounts(launch, settings, ":ro")]
    return (
        f"--container-image={enroot_image(image)}",
        f"--container-mounts={','.join(mounts)}",
        f"--container-workdir={launch.repository}",
        "--no-container-mount-home",
        "--no-container-entrypoint",
        "--container-writable",
    )


def front_words(launch: Launch, settings: SlurmSettings) -> tuple[str, ...]:
    """What stands in front of `sh node.sh`: apptainer, and the madrun to be used there. Errors as `srun_words`."""
    carried = f"{PROGRAM}={launch.folder}/{CARRIED}" if settings.madrun == "carry" else ""
    if settings.containers == "pyxis":
        return ("env", carried) if carried else ()
    if settings.containers != "apptainer":
        return ()
    vendor, image = job_image(launch, settings.image, settings.vendor)
    if settings.gpus_per_node is not None and not vendor:
        raise ContextError(
            "slurm.vendor: is missing beside slurm.image and gpus_per_node; allowed: nvidia (--nv) or amd (--rocm)"
        )
    binds = [word for mount in _mounts(launch, settings, ":ro") for word in ("--bind", mount)]
    return (
        *("apptainer", "exec", "--no-home", "--pwd", launch.repository),
        *_GPU_FLAGS.get(vendor, ()),
        *binds,
        *(("--env", carried) if carried else ()),
        *settings.apptainer,
        apptainer_image(image),
    )


def enroot_image(image: str) -> str:
    """An image's usual name as enroot takes it, `nvcr.io#nvidia/pytorch:25.10-py3`; a path of a squashfs file as it is.

    `ContextError` for a name with a digest, which enroot does not take (enroot import: [REGISTRY#]IMAGE[:TAG]).
    """
    if image.startswith(("/", "./")) or "#" in image:
        return image
    name = image.removeprefix("docker://")
    if "@" in name:
        raise ContextError(
            f"slurm.image: found {image}, allowed with pyxis: a name with a tag, or the path of a file that "
            "enroot import has made of it"
        )
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):  # as docker tells a registry from a name
        return f"{first}#{rest}"
    return name


def apptainer_image(image: str) -> str:
    """A path (SIF file or folder) or an address as it is; an image's usual name as one of a registry."""
    return image if image.startswith(("/", "./")) or _SCHEME.match(image) else f"docker://{image}"


def _mounts(launch: Launch, settings: SlurmSettings, read_only: str) -> list[str]:
    """What has the same path in the container and outside, so that records say where things lie; and what was asked."""
    own = dict.fromkeys((launch.repository, launch.results, launch.folder))
    places = [
        (path, path, "") for path in own if not any(PurePath(path).is_relative_to(one) for one in own if one != path)
    ]
    for target, value in settings.mounts.items():
        source, only = mount_source(value)
        places.append((source, target, read_only if only else ""))
    for path in (path for source, target, _ in places for path in (source, target)):
        if _SEPARATORS.search(path) or not path.startswith("/"):
            raise ContextError(
                f"slurm.containers: {settings.containers} cannot mount {path!r}; allowed: an absolute path without "
                "commas, colons and blanks"
            )
    return [f"{source}:{target}{only}" for source, target, only in places]
