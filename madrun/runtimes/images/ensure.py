"""The image of a plan: found, pulled or built, and checked to be one that this host's engine can run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
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
    split_reference,
)
from madrun.runtimes.images.place import Order, Place
from madrun.runtimes.images.watch import Watch
from madrun.spec.dockerfile import TOOLS, UnsetArgument, bases, only_buildkit, with_tools
from madrun.spec.plan import NOWHERE, SHARED, ImagePlan

_WORTH_A_LINE_S = 1.0
_RUNS_TOO = {"amd64": ("386",), "arm64": ("arm",)}


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image that lies on this host. `identity` is equal on two nodes if what runs is equal.

    `how` is `found`, `pulled`, `loaded` or `built`; `env`, `labels` and `architecture` are what the image
    says of itself.
    """

    id: str
    identity: str
    seconds: float
    how: str
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    architecture: str = ""


def ensure(place: Place, image: ImagePlan, context: Mapping[str, Path], watch: Watch) -> Prepared:
    """The image, pulled or built where this host lacks it, its secret arguments filled in. Raises `BuildError`.

    `place.policy` may want it anew although it lies here, and in a registry too.
    """
    started = time.monotonic()
    policy = place.policy
    shared = image.pull_from == SHARED
    anew = policy.builds_anew(image) or (image.kind == "ready" and not shared and policy.pulls_anew(image.name))
    found, how = (None if anew or policy.pull or shared else _up_to_date(place, image)), "found"
    if found is None:
        with locked(place.lock_dir / (f"{image.file_name}.lock"), _waiting(image, watch)):
            found, how = _made(place, image, context, watch, anew)
    _check_platform(place, image.name, found)
    _tagged(place, image, found)
    seconds = time.monotonic() - started
    if policy.registry:
        from madrun.runtimes.images.push import provide

        provide(place, image, watch)
    config = found.get("Config") or {}
    return Prepared(
        id=str(found["Id"]),
        identity=_identity(place, image, found),
        seconds=seconds,
        how=how,
        env=dict(str(entry).partition("=")[::2] for entry in config.get("Env") or []),
        labels=labels_of(found),
        architecture=str(found.get("Architecture") or ""),
    )


def _identity(place: Place, image: ImagePlan, found: Mapping[str, Any]) -> str:
    """What two nodes compare. A tar carries no digest of a registry, and not every name: the id is equal on all."""
    if image.pull_from == SHARED and place.policy.shared is not None:
        return str(found["Id"])
    return recipe_or_id(found) if image.kind == "build" else identity_of(found, image.name)


def _waiting(image: ImagePlan, watch: Watch) -> Callable[[float], None]:
    """For the time in which another command makes the image: says so once, and ends where this one does."""
    told: list[float] = []

    def wait(seconds: float) -> None:
        if watch.stop.is_set:
            raise BuildError(f"image {image.name}: not waited for: the command has ended")
        if seconds > _WORTH_A_LINE_S and not told:
            told.append(seconds)
            watch.line(f"waiting for another command that makes {image.name}")

    return wait


def _made(
    place: Place, image: ImagePlan, context: Mapping[str, Path], watch: Watch, anew: bool
) -> tuple[dict[str, Any], str]:
    """The image and how it was come by; another run may have made it while this one waited."""
    if image.pull_from == SHARED:
        return _shared(place, image, watch)
    if image.kind == "build" and place.policy.pull:
        _pull_bases(place, image, context, watch)
    found = None if anew else _up_to_date(place, image)
    if found is not None:
        return found, "found"
    if image.kind == "ready":
        return _fetched(place, image, watch), "pulled"
    if not anew and place.policy.reference(image):
        from madrun.runtimes.images.push import fetch

        found = _up_to_date(place, image) if fetch(place, image, watch) else None
        if found is not None:
            return found, "pulled"
    return _built(place, image, context, watch), "built"


def _shared(place: Place, image: ImagePlan, watch: Watch) -> tuple[dict[str, Any], str]:
    """The image that lies here, which the shared directory has then too; else the one of that directory."""
    from madrun.runtimes.images import shared

    found, folder = _inspect(place, image.name), place.policy.shared
    if found is not None:
        if folder is not None:
            shared.provide(place, folder, image.name, found, watch)
        return found, "found"
    if folder is None:
        raise BuildError(
            f"image {image.name}: not on this host, and the manifest says local_image: true; build or load it here, "
            "name a directory with MAD_DOCKER_BUILDS that all nodes see, or give its registry_image in the manifest"
        )
    shared.obtain(place, folder, image.name, watch)
    found = _inspect(place, image.name)
    if found is None:
        raise BuildError(f"image {image.name}: loaded, but the engine does not have it")
    return found, "loaded"


def _fetched(place: Place, image: ImagePlan, watch: Watch) -> dict[str, Any]:
    """A ready image from where it comes from, by the name that it has here."""
    if image.pull_from == NOWHERE:
        raise BuildError(
            f"image {image.name}: not on this host, and the manifest says of no registry that has it; build it "
            "(madrun build), or give its registry_image there"
        )
    found = _pulled(place, image.pull_from or image.name, watch)
    if image.pull_from and image.pull_from != image.name:
        repository, tag = split_reference(image.name)
        place.client.tag(found["Id"], repository, tag=tag)
    return found


def _pull_bases(place: Place, image: ImagePlan, context: Mapping[str, Path], watch: Watch) -> None:
    """The bases as their registries have them now; an image that was built on older ones is then built again."""
    for name in _bases(image, text_of(image, context)):
        if place.policy.pulls_anew(name):
            _pulled(place, name, watch)


def _tagged(place: Place, image: ImagePlan, found: Mapping[str, Any]) -> None:
    """Gives the image its other name, which moves there from the one before."""
    if image.tag and f"{image.tag}:latest" not in (found.get("RepoTags") or []):
        place.client.tag(found["Id"], image.tag, tag="latest")


def text_of(image: ImagePlan, context: Mapping[str, Path]) -> str:
    """The Dockerfile as it is built; one that copies from tools gets them as a stage of its own."""
    text = context[image.dockerfile].read_text(encoding="utf-8-sig")
    return with_tools(text) if TOOLS in context else text


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

    here = place.policy.pull and _inspect(place, name) is not None
    pull(place.client, name, watch, place.policy.login(name), here)
    found = _inspect(place, name)
    if found is None:
        raise BuildError(f"image {name}: pulled, but the engine does not have it")
    watch.line(f"pulled {name}: {identity_of(found, name)}")
    return found


def _built(place: Place, image: ImagePlan, context: Mapping[str, Path], watch: Watch) -> dict[str, Any]:
    from madrun.runtimes.images import buildkit, classic
    from madrun.runtimes.images.failures import build_failed, needs_buildkit

    text = text_of(image, context)
    builder = place.buildkit() if _is_docker(place) else None
    refused = only_buildkit(text) if builder is None and _is_docker(place) else ()
    if refused:
        raise needs_buildkit(image, refused)
    labels = _labels(place, image, text, watch)
    by = "BuildKit" if builder else "the classic builder" if _is_docker(place) else "the engine"
    watch.line(f"building {image.name} from {image.source} with {by}")
    order = Order(image=image, context=context, labels=labels, text=text, fresh=place.policy.fresh)
    if builder is not None:
        done, lines = buildkit.build(builder, order, watch)
    else:
        done, lines = classic.build(place.client, order, watch)
    found = _inspect(place, image.name) if done else None
    if found is None:
        raise build_failed(place.client, image, text, lines)
    return found


def _is_docker(place: Place) -> bool:
    return place.engine is None or place.engine.name == "docker"


def _labels(place: Place, image: ImagePlan, text: str, watch: Watch) -> dict[str, str]:
    """What the image will say of its making. Bases that are missing here are pulled first: the identity is theirs."""
    found = {}
    for name in _bases(image, text):
        found[name] = _inspect(place, name) or _pulled(place, name, watch)
        _check_platform(place, name, found[name])
    ids = {name: str(base["Id"]) for name, base in found.items()}
    identities = {name: identity_of(base, name) for name, base in found.items()}
    identity = recipe_identity(image.recipe, identities)
    bases_text = json.dumps(ids, sort_keys=True)
    return {RECIPE: image.recipe, IDENTITY: identity, BASES: bases_text, OWNER: str(os.getuid())}


def _bases(image: ImagePlan, text: str) -> tuple[str, ...]:
    try:
        return bases(text, image.build_args)
    except UnsetArgument as unset:
        raise BuildError(f"image {image.name}: {image.source}: {unset}") from None


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
