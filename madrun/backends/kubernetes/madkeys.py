"""The keys of `k8s` as MAD's repositories spell them, in madrun's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SAME: dict[str, str] = {
    "gpu_count": "gpus_per_node",
    "gpu_resource_name": "gpu_resource",
    "gpu_vendor": "vendor",
    "cpu": "cpus",
    "cpu_limit": "cpus",
    "memory_limit": "memory",
    "image_pull_policy": "pull_policy",
    "image_pull_secrets": "pull_secrets",
    "allow_privileged_profiling": "privileged",
    "results_pvc": "results_claim",
    "context": "kube_context",
}
# What madrun has no use for: a node that is started again is another run, and claims are made by their owner.
_UNUSED = ("backoff_limit",)
_DATA = "/data"


def from_mad(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with madrun's keys; a key of madrun's own that is said too wins."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in _UNUSED or key.endswith("storage_class"):
            continue
        if key == "data_pvc":
            found.setdefault("data_claims", {value: _DATA} if value else {})
        elif key == "secrets" and isinstance(value, Mapping) and "strategy" in value:
            found.setdefault("pull_secrets", tuple(value.get("image_pull_secret_names") or ()))
        elif key in _SAME:
            found.setdefault(_SAME[key], value.lower() if key == "gpu_vendor" and isinstance(value, str) else value)
    own = {key: value for key, value in values.items() if _is_own(key, value)}
    return {**found, **own}


def unused(values: Mapping[str, Any]) -> list[str]:
    """Keys that were given and mean nothing here."""
    return sorted(key for key in values if key in _UNUSED or key.endswith("storage_class"))


def _is_own(key: str, value: Any) -> bool:
    if key in _SAME or key in _UNUSED or key == "data_pvc" or key.endswith("storage_class"):
        return False
    return not (key == "secrets" and isinstance(value, Mapping) and "strategy" in value)
