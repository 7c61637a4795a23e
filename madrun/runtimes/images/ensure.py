"""The image of a plan: found, pulled or built, and checked to be one that this host's engine can run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from madrun.errors import BuildError
from madrun.locks import locked
from madrun.runtimes.images.identity import (
    BASES,
    IDENTITY,
    OWNER,
    RECIPE,
    identity_of,
    labels_of,
    recipe_identity,
    recipe_or_id,
)
from madrun.runtimes.images.place import Place
from madrun.runtimes.images.watch import Watch
from madrun.spec.dockerfile import UnsetArgument, bases, only_buildkit
from madrun.spec.plan import ImagePlan

_RUNS_TOO = {"amd64": ("386",), "arm64": ("arm",)}


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image that lies on this host. `identity` is equal on two nodes if what runs is equal.

    `how` is `found`, `pulled` or `built`; `env`, `labels` and `architecture` are what the image says of itself.
    """

    id: str
    identity: str
    seconds: float
    how: str
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    architecture: str = ""


def ensure(place: Place, image: ImagePlan, context: Mapping[str, Path], watch: Watch) -> Prepared:
    """The image, pulled or built where this host lacks it, its secret arguments filled in. Raises `BuildError`."""
    started = time.monotonic()
    found, how = _up_to_date(place, image), "found"
    if found is None:
        with locked(place.lock_dir / (f"{image.file_name}.lock")):
            found = _up_to_date(place, image)  # another run may have made it meanwhile
            if found is None and image.kind == "ready":
                found, how = _pulled(place, image.name, watch), "pulled"
            elif found is None:
                found, how = _built(place, image, context, watch), "built"
    _check_platform(place, image.name, found)
    config = found.get("Config") or {}
    return Prepared(
        id=str(found["Id"]),
        identity=recipe_or_id(found) if image.kind == "build" else identity_of(found, image.name),
        seconds=time.monotonic() - started,
        how=how,
        env=dict(str(entry).partition("=")[::2] for entry in config.get("Env") or []),
        labels=labels_of(found),
        architecture=str(found.get("Architecture") or ""),
    )


def _up_to_date(place: Place, image: ImagePlan) -> dict[str, Any] | None:
    """The image as it lies here; None where it is missing, or was built on other bases than lie here now."""
    found = _inspect(place, image.name)
    if found is None or image.kind == "ready":
        return found
    for name, built_on in json.loads(labels_of(found).get(BASES) or "{}").items():
        base = _inspect(place, name)
        if base is not None and base["Id"] != built_on:
            return None
    return found


def _inspect(place: Place, name: str) -> dict[str, Any] | None:
    from docker.errors import APIError, ImageNotFound

    try:
        found: dict[str, Any] = place.client.inspect_image(name)
        return found
    except ImageNotFound:
        return None
    except APIError as error:
        raise BuildError(f"image {name}: the engine says: {error.explanation or error}") from None


def _pulled(place: Place, name: str, watch: Watch) -> dict[str, Any]:
    from madrun.runtimes.images.pull import pull

    pull(place.client, name, watch)
    found = _inspect(place, name)
    if found is None:
        raise BuildError(f"image {name}: pulled, but the engine does not have it")
    watch.line(f"pulled {name}: {identity_of(found, name)}")
    return found


def _built(place: Place, image: ImagePlan, context: Mapping[str, Path], watch: Watch) -> dict[str, Any]:
    from madrun.runtimes.images import buildkit, classic
    from madrun.runtimes.images.failures import build_failed, needs_buildkit

    text = context[image.dockerfile].read_text(encoding="utf-8")
    builder = place.buildkit() if _is_docker(place) else None
    refused = only_buildkit(text) if builder is None and _is_docker(place) else ()
    if refused:
        raise needs_buildkit(image, refused)
    labels = _labels(place, image, text, watch)
    by = "BuildKit" if builder else "the classic builder" if _is_docker(place) else "the engine"
    watch.line(f"building {image.name} from {image.context}/{image.dockerfile} with {by}")
    if builder is not None:
        done, lines = buildkit.build(builder, image, context, labels, watch)
    else:
        done, lines = classic.build(place.client, image, context, labels, watch)
    found = _inspect(place, image.name) if done else None
    if found is None:
        raise build_failed(place.client, image, text, lines)
    return found


def _is_docker(place: Place) -> bool:
    return place.engine is None or place.engine.name == "docker"


def _labels(place: Place, image: ImagePlan, text: str, watch: Watch) -> dict[str, str]:
    """What the image will say of its making. Bases that are missing here are pulled first: the identity is theirs."""
    try:
        names = bases(text, image.build_args)
    except UnsetArgument as unset:
        raise BuildError(f"image {image.name}: {image.context}/{image.dockerfile}: {unset}") from None
    found = {}
    for name in names:
        found[name] = _inspect(place, name) or _pulled(place, name, watch)
        _check_platform(place, name, found[name])
    ids = {name: str(base["Id"]) for name, base in found.items()}
    identities = {name: identity_of(base, name) for name, base in found.items()}
    identity = recipe_identity(image.recipe, identities)
    bases_text = json.dumps(ids, sort_keys=True)
    return {RECIPE: image.recipe, IDENTITY: identity, BASES: bases_text, OWNER: str(os.getuid())}


def _check_platform(place: Place, name: str, found: Mapping[str, Any]) -> None:
    """Emulated, an image of another architecture may even run; its numbers would say nothing of this host."""
    mine = place.engine.architecture if place.engine else ""
    theirs, system = str(found.get("Architecture") or ""), str(found.get("Os") or "linux")
    fits = not mine or not theirs or theirs == mine or theirs in _RUNS_TOO.get(mine, ())
    if not fits or system != "linux":
        raise BuildError(
            f"image {name} is for {system}/{theirs}, this host's engine runs linux/{mine or 'unknown'}; "
            f"pull or build one for {mine or 'it'}, or name another with MAD_CONTAINER_IMAGE or BASE_DOCKER"
        )
