"""Whether the GPUs that a saved plan names are, on this host and today, those that it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from madrun.errors import ContextError
from madrun.planning.visible import by_environment
from madrun.spec.facts import Gpu, HostFacts
from madrun.spec.plan import Container, NodePlan

_NEW_PLAN = "make a new plan with `madrun run --tags ...`"


def check_gpus(node: NodePlan, facts: HostFacts, then: Mapping[str, Any]) -> None:
    """`ContextError` where the plan would get other GPUs than it had, or more than this environment leaves.

    The host has every index of the plan. `then` are the facts of the first run as a file holds them, or empty.
    """
    before = {gpu.get("index"): gpu.get("device") for gpu in _gpus(then)}
    known = {gpu.index: gpu for gpu in facts.accelerator.gpus}
    for index in node.gpus:
        _check_file(known[index], before.get(index) or "", facts.accelerator.vendor, node.container)
    if node.container is not None:
        _check_request(node.container, len(node.gpus), facts)
    _check_visible(node, facts)


def _check_file(gpu: Gpu, was: str, vendor: str, container: Container | None) -> None:
    """An AMD container is given its GPUs as device files, so the same file has to be the same GPU."""
    given = container.devices if container is not None and vendor == "amd" else (gpu.device,)
    if gpu.device in given and was in ("", gpu.device):
        return
    had = was if was not in ("", gpu.device) else f"among {', '.join(given) or 'no device files'}"
    raise ContextError(
        f"--plan: GPU {gpu.index} is {gpu.device or 'without a device file'} on this host, but was {had} where the "
        f"plan was made; {_NEW_PLAN}"
    )


def _check_request(container: Container, count: int, facts: HostFacts) -> None:
    """What the engine is asked for means as many GPUs as then, and exists."""
    gpus = facts.accelerator.gpus
    words = container.gpus.split(",") if container.gpus else []
    every = "all" in words or any(name.endswith("=all") for name in container.cdi)
    today = len(gpus) + facts.accelerator.hidden
    if every and today != count:
        raise ContextError(
            f"--plan: gives its container all GPUs, which were {count}, but this host has {today}; {_NEW_PLAN}"
        )
    here = {gpu.uuid for gpu in gpus} | {part.uuid for gpu in gpus for part in gpu.partitions}
    gone = [word for word in words if word.startswith(("GPU-", "MIG-")) and word not in here]
    if facts.engine is not None:
        gone += [name for name in container.cdi if name not in facts.engine.cdi]
    if gone:
        raise ContextError(f"--plan: asks the engine for {', '.join(gone)}, which this host has not; {_NEW_PLAN}")


def _check_visible(node: NodePlan, facts: HostFacts) -> None:
    """What the environment leaves to this user, a scheduler's share of the host for example, is not exceeded."""
    left, why = by_environment(facts.accelerator, facts.process_env)
    parts = {part.uuid for gpu in left for part in gpu.partitions}
    hidden = [f"GPU {index}" for index in node.gpus if index not in {gpu.index for gpu in left}]
    hidden += [word for word in _partitions(node.container) if word not in parts]
    if hidden:
        words = ",".join(str(gpu.index) for gpu in left) or "none"
        raise ContextError(
            f"--plan: uses {', '.join(hidden)}, but the environment leaves GPUs {words} of the "
            f"{facts.accelerator.count} of this host ({why}); leave it to the plan, or {_NEW_PLAN}"
        )


def _partitions(container: Container | None) -> list[str]:
    """The MIG instances that the engine is asked for."""
    asked = [*container.gpus.split(","), *container.cdi] if container is not None else []
    return [word.rpartition("=")[2] for word in asked if word.rpartition("=")[2].startswith("MIG-")]


def gpu_changes(node: NodePlan, then: Mapping[str, Any], now: HostFacts) -> list[str]:
    """`GPU 0 uuid A -> B` for each GPU of the plan that is another one today; what was not known then is none."""
    before = {gpu.get("index"): gpu.get("uuid") for gpu in _gpus(then)}
    today = {gpu.index: gpu.uuid for gpu in now.accelerator.gpus}
    return [
        f"GPU {index} uuid {before[index]} -> {today.get(index) or 'unknown'}"
        for index in node.gpus
        if before.get(index) and before[index] != today.get(index)
    ]


def _gpus(facts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    accelerator = facts.get("accelerator")
    gpus = accelerator.get("gpus") if isinstance(accelerator, Mapping) else None
    return [gpu for gpu in gpus or () if isinstance(gpu, Mapping)]
