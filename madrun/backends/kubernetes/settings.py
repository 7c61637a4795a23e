"""What the context says of Kubernetes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from madrun.backends.kubernetes.madkeys import from_mad
from madrun.backends.settings import checked
from madrun.errors import ContextError
from madrun.spec.card import Vendor
from madrun.units import parse_duration

RESOURCES: dict[str, str] = {"amd": "amd.com/gpu", "nvidia": "nvidia.com/gpu"}
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")  # RFC 1123 label, as the API asks of namespaces
_NAME = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")  # RFC 1123 subdomain: of most objects
_REFERENCE = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[-._a-zA-Z0-9]+")
_LEAST_S = {"ttl": 60, "deadline": 1}  # results are brought home before the cluster removes what has ended
# Kubernetes' resource.Quantity: a decimal number with a suffix, or an exponent.
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(([KMGTPE]i)|[numkMGTPE]|[eE][0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """Names are those of the context's `kubernetes` key; empty text means the cluster's own default.

    `cpus`, `memory`, `shm_size`: quantities as Kubernetes writes them. `data_claims`: PersistentVolumeClaim to the path
    at which it is mounted read only; `results_claim` holds the results of all nodes. `secrets`: variable to
    `SECRET/KEY`. `ttl` and the other durations: seconds or text with a unit.
    `results_limit` in MiB: what node 0 sends home, packed.
    """

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    namespace: str = ""
    kube_context: str = ""
    kubeconfig: str = ""
    image: str = ""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    jobset: bool = False
    gpus_per_node: Annotated[int, Ge(0)] | None = None
    vendor: Vendor | None = None
    gpu_resource: str = ""
    cpus: str = ""
    memory: str = ""
    shm_size: str = "16Gi"
    ipc_lock: bool = True
    privileged: bool = False
    user: Annotated[int, Ge(0)] | None = None
    host_network: bool = False
    rdma_resource: dict[str, Annotated[int, Ge(1)]] = field(default_factory=dict)
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[dict[str, Any], ...] = ()
    affinity: dict[str, Any] = field(default_factory=dict)
    spread: bool = True
    priority_class: str = ""
    queue: str = ""
    service_account: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    data_claims: dict[str, str] = field(default_factory=dict)
    results_claim: str = ""
    results_limit: Annotated[int, Ge(1)] = 16
    secrets: dict[str, str] = field(default_factory=dict)
    madrun: Literal["carry", "installed"] = "carry"
    repository: str = "carry"
    exclude: tuple[str, ...] = ()
    ttl: float | str = "1d"
    deadline: float | str | None = None
    unreachable: float | str = 30
    termination_grace: float | str = 30
    start_patience: float | str = 60
    pending_timeout: float | str | None = None

    def seconds(self, key: str) -> int | None:
        """A duration as whole seconds, rounded up; None where none is set."""
        value = getattr(self, key)
        return None if value is None else math.ceil(parse_duration(value) if isinstance(value, str) else value)


def read(
    values: Mapping[str, Any], nnodes: int | None, *, env: Mapping[str, str] = {}
) -> tuple[KubernetesSettings, int]:
    """Settings and the number of nodes; MAD's spellings of keys are understood. `ContextError` lists what is wrong."""
    said = {key: value for key, value in from_mad(values).items() if value is not None}
    settings = checked(KubernetesSettings, "kubernetes", said)
    if problems := _problems(settings):
        raise ContextError("\n".join(f"kubernetes.{problem}" for problem in problems))
    return settings, nnodes or 1


def _problems(settings: KubernetesSettings) -> list[str]:
    found = [*_name_problems(settings), *_gpu_problems(settings), *_time_problems(settings)]
    for key in ("cpus", "memory", "shm_size"):
        value = getattr(settings, key)
        if value and not _QUANTITY.fullmatch(value):
            near = re.sub(r"i?[bB]$", "i", value)
            hint = f" (did you mean {near!r}?)" if _QUANTITY.fullmatch(near) else ""
            found.append(f"{key}: found {value!r}{hint}, allowed: a quantity of Kubernetes: 4, 500m, 64Gi")
    for name, word in settings.secrets.items():
        if not _REFERENCE.fullmatch(word):
            found.append(f"secrets.{name}: found {word!r}, allowed: SECRET/KEY of a Secret in the namespace")
    for claim, path in settings.data_claims.items():
        place, twice = PurePosixPath(path), list(settings.data_claims.values()).count(path) > 1
        if not place.is_absolute() or twice or any(place.is_relative_to(own) for own in ("/madrun", "/dev/shm")):
            found.append(
                f"data_claims.{claim}: found {path!r}, allowed: an absolute path of its own that is not below /madrun "
                "or /dev/shm"
            )
    if settings.repository != "carry" and not settings.repository.startswith("/"):
        found.append(f"repository: found {settings.repository!r}, allowed: carry, or an absolute path in the container")
    return found


def _name_problems(settings: KubernetesSettings) -> list[str]:
    found = []
    if settings.namespace and not _LABEL.fullmatch(settings.namespace):
        found.append(f"namespace: found {settings.namespace!r}, allowed: small letters, digits and '-'")
    named = [(key, getattr(settings, key)) for key in ("results_claim", "queue", "priority_class", "service_account")]
    named += [(key, name) for key in ("data_claims", "pull_secrets") for name in getattr(settings, key)]
    for key, name in named:
        if name and not _NAME.fullmatch(name):
            found.append(f"{key}: found {name!r}, allowed: small letters, digits, '-' and '.'")
    return found


def _gpu_problems(settings: KubernetesSettings) -> list[str]:
    of_vendor = RESOURCES.get(settings.vendor or "", "")
    if of_vendor and settings.gpu_resource in RESOURCES.values() and settings.gpu_resource != of_vendor:
        return [f"vendor: found {settings.vendor} beside gpu_resource {settings.gpu_resource}; leave one out"]
    return []


def _time_problems(settings: KubernetesSettings) -> list[str]:
    found = []
    for key in ("ttl", "deadline", "unreachable", "termination_grace", "start_patience", "pending_timeout"):
        try:
            seconds = settings.seconds(key)
        except (ValueError, OverflowError) as error:
            found.append(f"{key}: {error}")
            continue
        least = _LEAST_S.get(key, 0)
        if seconds is not None and seconds < least:
            found.append(f"{key}: found {getattr(settings, key)!r}, allowed: no less than {least}{' s' * bool(least)}")
    return found
