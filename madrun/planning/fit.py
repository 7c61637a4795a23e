"""Whether the host's driver is new enough for what an image says it needs.

NVIDIA: the variable NVIDIA_REQUIRE_CUDA of the image (Container Toolkit documentation, "Constraints"): blanks
between alternatives, commas within one. Only `cuda` and `driver` are judged here; what an alternative says of a
brand or an architecture is taken as true, so that no host is refused on a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from madrun.spec.facts import Accelerator

_CONDITION = re.compile(r"(cuda|driver)(>=|<=|!=|=|<|>)(\d+(?:\.\d+)*)")
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": lambda have, need: have >= need,
    "<=": lambda have, need: have <= need,
    "!=": lambda have, need: have != need,
    "=": lambda have, need: have == need,
    "<": lambda have, need: have < need,
    ">": lambda have, need: have > need,
}


def misfit(accelerator: Accelerator, image: str, env: Mapping[str, str]) -> str:
    """Why the image cannot use this host's GPUs, with both versions; empty where nothing stands against it.

    `env` is the environment in the image's configuration.
    """
    needs = env.get("NVIDIA_REQUIRE_CUDA", "")
    if accelerator.vendor != "nvidia" or not needs or env.get("NVIDIA_DISABLE_REQUIRE", "").lower() in ("1", "true"):
        return ""
    have = {"cuda": _version(accelerator.stack), "driver": _version(accelerator.driver)}
    if any(_holds(alternative, have) for alternative in needs.split()):
        return ""
    return (
        f"image {image} needs another driver: it says NVIDIA_REQUIRE_CUDA={needs!r}; this host has driver "
        f"{accelerator.driver or 'unknown'}, which supports CUDA {accelerator.stack or 'unknown'}. "
        "Update the driver, or name an older image with MAD_CONTAINER_IMAGE or docker_build_arg BASE_DOCKER"
    )


def _holds(alternative: str, have: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether every condition that can be judged is met."""
    for condition in alternative.split(","):
        match = _CONDITION.fullmatch(condition)
        if match is None or not have[match[1]]:
            continue
        found, need = have[match[1]], _version(match[3])
        length = min(len(found), len(need))  # driver<471 means the branch, not 471.0
        if not _COMPARE[match[2]](found[:length], need[:length]):
            return False
    return True


def _version(text: str) -> tuple[int, ...]:
    """`570.124.06` -> (570, 124, 6); empty where it is none."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def rocm_note(accelerator: Accelerator, image: str, env: Mapping[str, str]) -> str:
    """A line where an image's ROCm and the host's are of different major versions; empty else.

    No refusal: AMD supports combinations of user space and kernel driver around one version (ROCm documentation,
    "User and kernel-space support matrix"), and which ones is not to be told from these numbers.
    """
    inside, outside = _version(env.get("ROCM_VERSION", "")), _version(accelerator.stack)
    if accelerator.vendor != "amd" or not inside or not outside or inside[0] == outside[0]:
        return ""
    return (
        f"image {image} has ROCm {env['ROCM_VERSION']}, this host {accelerator.stack} (driver {accelerator.driver}): "
        "see the support matrix of user space and kernel driver in the ROCm documentation"
    )
