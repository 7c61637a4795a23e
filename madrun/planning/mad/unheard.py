"""Keys of a context that mean something to other targets than a run typed on its node: named, never passed over."""

from __future__ import annotations

from collections.abc import Iterable

from madrun.planning.mad.counts import KEYS
from madrun.spec.card import Card
from madrun.spec.context import Context

# Keys of launchers of whole jobs. `distributed` has effects of its own, as have the GPU counts of slurm and k8s.
_ELSEWHERE = ("slurm", "k8s", "kubernetes", "vllm", "deployment_config")
_OF_LAUNCHES = ("slurm", "k8s", "kubernetes")  # `madrun run --on` reads them; a site file has them for all cards
_SWITCHES = ("shared_data", "monitor", "cleanup_on_failure", "debug")
_HEADERS_ONLY = ("host_os", "numa_balancing")
_OF_MAD = (
    *("gpu_vendor", "guest_os", "host_os", "ctx_test", "numa_balancing", "gpu_renderDs", "rocm_path", "MAD_ROCM_PATH"),
    *("SHM_SIZE", "distributed", "env_vars", *KEYS, *_ELSEWHERE, *_SWITCHES),
)
_HEARD_OF = {"slurm": ("gpus_per_node",), "k8s": ("gpu_count",), "kubernetes": ("gpu_count",)}
IMAGE = "DOCKER_IMAGE_NAME"


def unheard(card: Card, context: Context, runtime: str, vendor: str, launched: bool = False) -> tuple[str, ...]:
    """A note for each key that was given and has no effect on this run.

    `launched`: this is one node's part of a launch, which has read what is meant for it.
    """
    if card.mad is None:
        given = [key for key in _OF_MAD if key not in _OF_LAUNCHES and getattr(context, key) not in (None, {})]
        return tuple(f"{key} has no effect on {card.name}, which is no card of a MAD repository" for key in given)
    return (
        *_elsewhere(context, launched),
        *_variables(card, context),
        *_headers(context),
        *_outside(card, context, runtime),
        *_by_vendor(context, vendor),
    )


def _elsewhere(context: Context, launched: bool) -> Iterable[str]:
    for key in _ELSEWHERE:
        if launched and key in _OF_LAUNCHES:
            continue
        rest = [name for name in getattr(context, key) if name not in _HEARD_OF.get(key, ())]
        if rest and key in _OF_LAUNCHES:
            backend = "slurm" if key == "slurm" else "kubernetes"
            yield f"{key} ({', '.join(rest)}) counts with --on {backend}, not for a run typed on this node"
        elif rest:
            yield f"{key} ({', '.join(rest)}) has no effect on a run typed on this node"
    for key in _SWITCHES:
        if getattr(context, key) is not None:
            yield f"{key} has no effect on a run typed on this node"


def _variables(card: Card, context: Context) -> Iterable[str]:
    assert card.mad is not None
    said = {**card.mad.env_vars, **context.env_vars}
    rest = sorted(name for name in said if name != IMAGE)
    if rest:
        yield f"env_vars ({', '.join(rest)}) reach jobs of SLURM alone, not this container; docker_env_vars do"


def _headers(context: Context) -> Iterable[str]:
    for key in _HEADERS_ONLY:
        if getattr(context, key) is not None:
            yield f"{key} counts for the # CONTEXT of Dockerfiles alone; the host is what it is"


def _outside(card: Card, context: Context, runtime: str) -> Iterable[str]:
    if runtime != "process":
        return
    if card.script.endswith(".slurm") and context.runtime == "process":
        yield f"{card.script} runs on this host itself, without a container, as scripts of SLURM do"
    keys = ("additional_docker_run_options", "docker_cpus", "shm_size")
    given = [key for key in keys if getattr(context, key)]
    if given:
        yield f"{', '.join(given)} has no effect: the runtime is process, without a container"


def _by_vendor(context: Context, vendor: str) -> Iterable[str]:
    if context.gpu_vendor and context.gpu_vendor.lower() != vendor:
        found = "no GPU" if vendor == "cpu" else f"GPUs of {vendor}"
        yield f"gpu_vendor {context.gpu_vendor}: the Dockerfile and MAD_GPU_VENDOR say so, but this host has {found}"
    if vendor == "amd":
        if context.MAD_ROCM_PATH is not None:
            yield "MAD_ROCM_PATH has no effect: this host's ROCM_PATH says where its ROCm is, rocm_path the container's"
        return
    for key in ("gpu_renderDs", "rocm_path", "MAD_ROCM_PATH"):
        if getattr(context, key) is not None:
            yield f"{key} has no effect: this host has no AMD GPU"
