"""--manifest-file: cards, images and context out of a build manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from madrun.cli.jsonoption import read_option
from madrun.cli.privatevalues import put_back
from madrun.errors import CardError, ContextError, UsageError
from madrun.registry.catalogue import Catalogue
from madrun.registry.mad.entry import card_of
from madrun.registry.mad.fields import Wrong
from madrun.registry.tags import select
from madrun.spec.card import Card, ImageSource, Vendor
from madrun.spec.context import Layer
from madrun.spec.manifest import BuiltImage, Manifest, WrongManifest, read_manifest
from madrun.spec.plan import NOWHERE, SHARED

FLAG = "--manifest-file"
_OF_THE_CONTEXT = ("slurm", "k8s", "kubernetes", "distributed", "vllm", "env_vars", "debug")
_BESIDE_REGISTRY = (
    "built_images.{}.local_image: has no effect beside registry_image: a host that lacks the image pulls it from there"
)
_LOCAL = ("", "local", "docker")
_OTHER = {"amd": "nvidia", "nvidia": "amd"}


@dataclass(frozen=True, slots=True)
class GivenManifest:
    """A manifest that was read: its file, what it says, and notes on what of it has no effect."""

    file: Path
    manifest: Manifest
    notes: tuple[str, ...]

    def layer(self) -> Layer:
        """Its context, with what its deployment says of a run; it counts less than the user's own words."""
        values = {key: value for key, value in self.manifest.context.items() if not _is_empty(value)}
        deployment = self.manifest.deployment_config
        values |= {key: deployment[key] for key in _OF_THE_CONTEXT if not _is_empty(deployment.get(key))}
        return Layer(f"{FLAG} {self.file}", values)

    def cards(self, catalogue: Catalogue, tags: Iterable[str]) -> list[Card]:
        """Its cards, each with its image; of these the ones that tags mean, where there are tags."""
        known = {card.name: card for card in catalogue.cards}
        models = self.manifest.built_models
        found = [self._card(key, entry, known, catalogue.repository) for key, entry in models.items()]
        wanted = tuple(tags)
        if not wanted:
            return found
        return select(tuple(found), wanted)

    def _card(self, key: str, entry: dict[str, Any], known: dict[str, Card], repository: Path) -> Card:
        name = str(entry.get("name") or key)
        where = f"{FLAG} {self.file}: built_models.{key}"
        if "scripts" in entry:
            scope, _, short = name.rpartition("/")
            try:
                card = card_of({"dockerfile": "", **entry, "name": short}, self.file, repository, "")
            except Wrong as wrong:
                raise CardError(f"{where}: {wrong}") from None
            card = replace(card, name=name)
        elif name in known:
            card = known[name]
        else:
            raise CardError(f"{where}: found no scripts, and {repository} has no card {name!r}; add name and scripts")
        image = self.manifest.built_images[key]
        source = source_of(image)
        notes = [*self.notes, *([_BESIDE_REGISTRY.format(key)] if image.local_image and image.registry_image else [])]
        warnings = (*card.warnings, *(f"{FLAG} {self.file}: {note}" for note in notes))
        other = _OTHER.get(image.gpu_vendor.lower())
        fit = [vendor for vendor in get_args(Vendor) if vendor != other]  # a host without a GPU builds for any
        return replace(card, images=dict.fromkeys(fit, source), warnings=warnings)


def source_of(image: BuiltImage) -> ImageSource:
    """The image by its name here, and where it comes from on a host that lacks it."""
    base = image.base_docker or None
    if not image.docker_image:
        return ImageSource(image=image.registry_image, base=base)
    # A name without a registry is one that a build gave: whatever a public registry has by it is another image.
    plain = "/" not in image.docker_image or image.docker_image.startswith("madrun/")
    elsewhere = SHARED if image.local_image else NOWHERE if plain else None
    pull_from = image.registry_image or elsewhere
    return ImageSource(image=image.docker_image, pull_from=pull_from, base=base)


def read_given(file: str) -> GivenManifest:
    """The manifest that the user names; `UsageError` says where it is wrong."""
    path, value = read_option(FLAG, file)
    try:
        manifest, notes = read_manifest(put_back(value, f"{FLAG} {path}"))
    except WrongManifest as wrong:
        raise UsageError(f"{FLAG}: {path}: {wrong}") from None
    target = manifest.deployment_config.get("target", "")
    if target not in _LOCAL:
        raise ContextError(
            f"{FLAG}: {path}: deployment_config.target: found {target!r}, allowed here: local or docker; a scheduler "
            "starts madrun run on each of its nodes"
        )
    return GivenManifest(path, manifest, notes)


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", {}, [])
