"""What the context says of SkyPilot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from madrun.backends.settings import checked
from madrun.spec.card import Vendor


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyPilotSettings:
    """Which machines the task asks for, by SkyPilot's own words for them.

    `infra`: `aws`, `gcp/us-central1`, `k8s/context`. `accelerators`: `H100:8`, on each node. `resources`: any further
    of its resources. `setup`: shell lines that each node runs once before. `madrun`: `carry` (the one that renders goes
    to the nodes), or `installed` in the image or by `setup`.
    """

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    image: str | None = None
    vendor: Vendor | None = None
    madrun: Literal["carry", "installed"] = "carry"
    infra: str | None = None
    accelerators: str | None = None
    cpus: str | None = None
    memory: str | None = None
    disk_size: str | None = None
    use_spot: bool | None = None
    resources: dict[str, Any] = field(default_factory=dict)
    setup: str = ""


def read(values: Mapping[str, Any], nnodes: int | None, *, env: Mapping[str, str] = {}) -> tuple[SkyPilotSettings, int]:
    """The settings, and the number of nodes, which is one where nothing is said; `ContextError` for what is wrong."""
    return checked(SkyPilotSettings, "skypilot", values), nnodes or 1
