"""build_manifest.json: which images were built for which cards, and the context that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from madrun.spec.validation import did_you_mean

T = TypeVar("T")
# What only describes a build: it is read, and changes nothing.
TOLD = ("build_duration", "build_command", "log_file", "summary", "build_time", "credentials_required")


class WrongManifest(Exception):
    """What cannot be read as a manifest: the place, what was found, what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltImage:
    """One image, by the names of the file. `docker_image` lies where it was built, `registry_image` elsewhere."""

    docker_image: str = ""
    dockerfile: str = ""
    base_docker: str = ""
    docker_sha: str = ""
    build_duration: float = 0.0
    build_command: str = ""
    log_file: str = ""
    gpu_vendor: str = ""
    gpu_architecture: str = ""
    registry: str = ""
    registry_image: str = ""
    local_image: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole file; `built_images` and `built_models` have the same keys."""

    built_images: dict[str, BuiltImage] = field(default_factory=dict)
    built_models: dict[str, dict[str, Any]] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)
    credentials_required: tuple[str, ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)
    deployment_config: dict[str, Any] = field(default_factory=dict)


def read_manifest(value: Any) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest, and notes on what of it has no effect. Raises `WrongManifest`; people write these by hand."""
    whole = _map(value, "the file")
    notes = [_unknown(key, Manifest, "") for key in whole if not _is_field(key, Manifest)]
    images = {
        key: _image(key, _map(entry, f"built_images.{key}"), notes)
        for key, entry in _map(whole.get("built_images", {}), "built_images").items()
    }
    models = {
        key: _map(entry, f"built_models.{key}")
        for key, entry in _map(whole.get("built_models", {}), "built_models").items()
    }
    if not models:
        raise WrongManifest("built_models: found nothing, allowed: {name of an image: a card as in models.json}")
    for key in models:
        if key not in images:
            raise WrongManifest(
                f"built_models.{key}: no image has this key in built_images{did_you_mean(key, images)}; allowed: the "
                "same keys in both"
            )
    notes += [f"built_images.{key}: no card in built_models has this key" for key in images if key not in models]
    credentials = whole.get("credentials_required") or []
    return Manifest(
        built_images=images,
        built_models=models,
        context=_map(whole.get("context") or {}, "context"),
        credentials_required=tuple(map(str, credentials)) if isinstance(credentials, list) else (),
        summary=whole["summary"] if isinstance(whole.get("summary"), dict) else {},
        deployment_config=_map(whole.get("deployment_config") or {}, "deployment_config"),
    ), tuple(note for note in notes if note)


def _image(key: str, entry: Mapping[str, Any], notes: list[str]) -> BuiltImage:
    texts: dict[str, Any] = {}
    for name, value in entry.items():
        if not _is_field(name, BuiltImage):
            notes.append(_unknown(name, BuiltImage, f"built_images.{key}."))
        elif name == "local_image":
            texts[name] = value is True or str(value).lower() == "true"
        elif name in TOLD:
            continue
        elif value is None or isinstance(value, str):
            texts[name] = value or ""
        else:
            raise WrongManifest(f"built_images.{key}.{name}: found {type(value).__name__}, allowed: text")
    texts["docker_image"] = texts.get("docker_image") or ("" if texts.get("registry_image") else key)
    made: Any = BuiltImage
    image: BuiltImage = made(**texts)
    return image


def _map(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongManifest(f"{where}: found {type(value).__name__}, allowed: an object of names to values")
    return value


def _is_field(name: str, kind: type[Any]) -> bool:
    return any(one.name == name for one in fields(kind))


def _unknown(name: str, kind: type[Any], where: str) -> str:
    """The note on a key that means nothing; empty for one that only tells."""
    if name in TOLD:
        return ""
    return f"{where}{name}: has no effect{did_you_mean(name, [one.name for one in fields(kind)])}"
