"""--batch-manifest: a list of cards, each to be built anew or taken from a registry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, get_args

from madrun.cli.imagepolicy import check_registry
from madrun.cli.jsonoption import read_option
from madrun.errors import UsageError
from madrun.registry.catalogue import Catalogue
from madrun.registry.selection import choose_cards
from madrun.spec.card import Card, ImageSource, Vendor
from madrun.spec.validation import did_you_mean

FLAG = "--batch-manifest"
_KEYS = ("model_name", "build_new", "registry", "registry_image")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEntry:
    """One card of the list: built where `build_new`, and pushed to `registry`; else its `registry_image` is taken."""

    model_name: str
    build_new: bool = False
    registry: str = ""
    registry_image: str = ""


def cards_of_batch(file: str, tags: Iterable[str], catalogue: Catalogue) -> list[Card]:
    """The cards of the list, in its order; tags narrow it."""
    narrowed = {card.name for card in choose_cards(catalogue, tags)} if tags else None
    found = []
    for entry in read_batch(file):
        for card in choose_cards(catalogue, [entry.model_name]):
            if narrowed is not None and card.name not in narrowed:
                continue
            ready = dict.fromkeys(get_args(Vendor), ImageSource(image=entry.registry_image))
            found.append(card if entry.build_new else replace(card, images=ready))
    return found


def registries_of(file: str | None) -> dict[str, str]:
    """The registry that the list names for a card, by what it calls the card."""
    return {entry.model_name: entry.registry for entry in read_batch(file) if entry.registry} if file else {}


def read_batch(file: str) -> list[BatchEntry]:
    """The entries; `UsageError` says where the list is wrong."""
    path, value = read_option(FLAG, file)
    if not isinstance(value, list) or not value:
        raise UsageError(f"{FLAG}: {path}: found no entries, allowed: a list of {{{', '.join(_KEYS)}}}")
    return [_entry(entry, f"{FLAG}: {path}: entry {number}") for number, entry in enumerate(value, 1)]


def _entry(value: Any, where: str) -> BatchEntry:
    if not isinstance(value, dict) or not isinstance(value.get("model_name"), str) or not value["model_name"]:
        raise UsageError(f"{where}: found {value!r}, allowed: an object with model_name and build_new")
    for key, one in value.items():
        if key not in _KEYS:
            raise UsageError(f"{where}: unknown key {key!r}{did_you_mean(key, _KEYS)}; allowed: {', '.join(_KEYS)}")
        if not isinstance(one, bool if key == "build_new" else str):
            allowed = "true or false" if key == "build_new" else "text"
            raise UsageError(f"{where}: {key}: found {one!r}, allowed: {allowed}")
    entry = BatchEntry(**value)
    if entry.registry:
        check_registry(entry.registry, f"{where}: registry")
    if not entry.build_new and not entry.registry_image:
        raise UsageError(f"{where}: {entry.model_name}: neither build_new nor registry_image: there is nothing to do")
    return entry
