"""Native cards: models/<name>/model.yaml, strict, with variants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from madrun.errors import CardError
from madrun.registry.yamlsource import line_of, read_yaml
from madrun.spec.card import CARD_NAME, CARD_NAME_RULE, STRICT, Card, ImageSource, Metric
from madrun.spec.validation import Invalid, validate
from madrun.units import parse_duration

FILE_NAME = "model.yaml"
VENDORS = ("amd", "nvidia", "cpu")


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
    images: dict[Literal["amd", "nvidia", "cpu"], ImageSource] = field(default_factory=dict)
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
    def fail(key: str, text: str) -> CardError:
        return CardError(f"{path}:{line_of(path, (*at, key))}: {key}: {text}")

    if not CARD_NAME.fullmatch(file.name):
        raise fail("name", f"found {file.name!r}, allowed: {CARD_NAME_RULE}")
    if not file.script.endswith((".sh", ".py")):
        raise fail("script", f"found {file.script!r}, allowed: a .sh or a .py file")
    _check_paths(file, path.parent, repository, fail)
    if isinstance(file.gpus_per_node, int) and file.gpus_per_node < 1:
        raise fail("gpus_per_node", f"found {file.gpus_per_node}, allowed: 'all' or a number >= 1")
    primaries = [name for name, metric in file.metrics.items() if metric.primary]
    if len(primaries) > 1:
        raise fail("metrics", f"found primary: true on {', '.join(primaries)}, allowed: on one metric")
    try:
        timeout = None if file.timeout is None else parse_duration(file.timeout)
    except ValueError as error:
        raise fail("timeout", str(error)) from None
    return Card(
        name=file.name,
        folder=str(path.parent),
        repository=str(repository),
        source=f"{path}:{line_of(path, at) if at else 1}",
        script=file.script,
        args=file.args,
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


def _check_paths(file: CardFile, folder: Path, repository: Path, fail: Any) -> None:
    """Script and files exist and stay inside the repository; the script inside the card's folder."""
    script = folder / file.script
    if Path(file.script).is_absolute() or ".." in Path(file.script).parts:
        raise fail("script", f"found {file.script!r}, allowed: a path below {folder}")
    if not script.is_file():
        raise fail("script", f"{script} does not exist")
    root = repository.resolve()
    for name in file.files:
        _check_inside(folder / name, root, "files", fail)
    for vendor, source in file.images.items():
        if bool(source.image) == bool(source.dockerfile):
            raise fail("images", f"{vendor}: give either dockerfile (with base) or image")
        if source.dockerfile:
            _check_inside(folder / source.dockerfile, root, "images", fail)
    if file.multiple_results and Path(file.multiple_results).name != file.multiple_results:
        raise fail("multiple_results", f"found {file.multiple_results!r}, allowed: a file name")


def _check_inside(file: Path, root: Path, key: str, fail: Any) -> None:
    """The file is there, and inside the repository."""
    if not file.resolve().is_relative_to(root):
        raise fail(key, f"{file} lies outside the repository {root}")
    if not file.is_file():
        raise fail(key, f"{file} does not exist")
