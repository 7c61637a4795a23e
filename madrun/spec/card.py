"""A card: the declaration of one benchmark, in one form whatever file it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from madrun.spec.mad import MadCard

Across = Literal["same", "sum", "mean", "min", "max", "last"]
Vendor = Literal["amd", "nvidia", "cpu"]
CARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
CARD_NAME_RULE = "letters, digits, '.', '_', '+', '-', starting with a letter or digit"
STRICT: Mapping[str, object] = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What a card declares of one metric; bounds are inclusive and in `unit`."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = STRICT

    unit: str = ""
    higher_is_better: bool | None = None
    primary: bool = False
    across_nodes: Across = "same"
    min: float | None = None
    max: float | None = None
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """Where the image for one accelerator comes from: a Dockerfile over a base, or a ready image.

    `context`: the folder that is sent to the builder, relative to the repository; default: that of the Dockerfile.
    `pull_from`: where a ready image comes from if not by its own name.
    """

    __pydantic_config__: ClassVar[Mapping[str, object]] = STRICT

    dockerfile: str | None = None
    base: str | None = None
    image: str | None = None
    context: str | None = None
    args: dict[str, str] = field(default_factory=dict)
    pull_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One benchmark as the planner takes it; paths in `script` and `files` are relative to `folder`.

    `mad`: what a card of a MAD repository says beyond that; None for a native card. `warnings`: what of its file has no
    effect. `trouble`: why it cannot be run after all, found only once it was selected.
    """

    name: str
    folder: str
    repository: str
    source: str
    script: str
    args: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    images: dict[str, ImageSource] = field(default_factory=dict)
    gpus_per_node: int | None = None
    data: tuple[str, ...] = ()
    timeout_s: float | None = None
    env: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    multiple_results: str | None = None
    training_precision: str = ""
    runner: str | None = None
    mad: MadCard | None = None
    warnings: tuple[str, ...] = ()
    trouble: str = ""
