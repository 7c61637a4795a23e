"""Native cards: models/<name>/model.yaml, strict, with variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from madrun.errors import CardError
from madrun.registry.checks import check_card
from madrun.registry.yamlsource import line_of, read_yaml
from madrun.spec.card import STRICT, Card, ImageSource, Metric, Vendor
from madrun.spec.validation import Invalid, validate
from madrun.units import parse_duration

FILE_NAME = "model.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFile:
    """What model.yaml may hold. `gpus_per_node: all` means every accelerator of the node."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = STRICT

    name: str
    script: str
    description: str = ""
    tags: tuple[str, ...] = ()
    args: str = ""
    files: tuple[str, ...] = ()
    images: dict[Vendor, ImageSource] = field(default_factory=dict)
    gpus_per_node: Literal["all"] | int = "all"
    data: str | tuple[str, ...] = ()
    timeout: str | float | None = None
    env: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    multiple_results: str | None = None
    training_precision: str = ""
    runner: str | None = None
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)


def card_files(repository: Path) -> list[Path]:
    """Every models/*/model.yaml of the repository, sorted."""
    return sorted(repository.glob(f"models/*/{FILE_NAME}"))


def read_cards(path: Path, repository: Path) -> list[Card]:
    """The card of the file and its variants; `CardError` with file and line."""
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise CardError(f"{path}:1: found {type(data).__name__}, allowed: a map with name, script and so on")
    base = _validated(path, data, ())
    cards = [_card(base, path, repository, ())]
    for name, changes in base.variants.items():
        at: tuple[str | int, ...] = ("variants", name)
        more = changes.get("tags", [])
        if not isinstance(more, list):
            place = line_of(path, (*at, "tags"))
            raise CardError(f"{path}:{place}: variants.{name}.tags: found {more!r}, allowed: a list of tags")
        merged = {key: value for key, value in data.items() if key != "variants"} | {"name": name}
        merged |= {key: value for key, value in changes.items() if key != "tags"}
        merged["tags"] = [*data.get("tags", []), *more]
        cards.append(_card(_validated(path, merged, at), path, repository, at))
    return cards


def _validated(path: Path, data: dict[str, Any], at: tuple[str | int, ...]) -> CardFile:
    try:
        return validate(CardFile, data, strict=True)
    except Invalid as invalid:
        texts = [
            f"{path}:{line_of(path, at + problem.path)}: {problem.key}: {problem.text}" for problem in invalid.problems
        ]
        raise CardError("\n".join(texts)) from None


def _card(file: CardFile, path: Path, repository: Path, at: tuple[str | int, ...]) -> Card:
    def fail(text: str, *keys: str) -> CardError:
        return CardError(f"{path}:{line_of(path, (*at, *keys))}: {'.'.join(keys)}: {text}")

    check_card(file, path.parent, repository, fail)
    try:
        timeout = None if file.timeout is None else parse_duration(file.timeout)
    except ValueError as error:
        raise fail(str(error), "timeout") from None
    return Card(
        name=file.name,
        folder=str(path.parent),
        repository=str(repository),
        source=f"{path}:{line_of(path, at) if at else 1}",
        script=file.script,
        args=file.args.strip("\n"),  # of a block of YAML (`>`, `|`)
        description=file.description,
        tags=file.tags,
        files=file.files,
        images=dict(file.images.items()),
        gpus_per_node=None if file.gpus_per_node == "all" else file.gpus_per_node,
        data=(file.data,) if isinstance(file.data, str) else file.data,
        timeout_s=timeout,
        env=file.env,
        metrics=file.metrics,
        multiple_results=file.multiple_results,
        training_precision=file.training_precision,
        runner=file.runner,
    )
