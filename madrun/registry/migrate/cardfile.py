"""A MAD card as the text of a model.yaml, alone or with others that differ little as its variants."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from madrun.errors import CardError
from madrun.registry.migrate.images import Images
from madrun.registry.migrate.surroundings import WRAPPER, Surroundings
from madrun.spec.card import Card, ImageSource
from madrun.spec.context import args_problem

SCOPE = "__"  # between the folder of a MAD card and its name: a native name has no slash
_DEFAULTS: dict[str, Any] = {
    "args": "",
    "tags": [],
    "gpus_per_node": "all",
    "data": [],
    "timeout": None,
    "env": {},
    "multiple_results": None,
    "training_precision": "",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """One card on its way: what was found of it, its native name, and what has no place there."""

    card: Card
    name: str
    surroundings: Surroundings
    images: Images
    notes: tuple[str, ...]

    @property
    def script(self) -> str:
        """The script that the native card starts."""
        return WRAPPER if self.surroundings.wrapped else self.card.script

    @property
    def shared(self) -> tuple[object, ...]:
        """What cards must have in common to be variants of one."""
        images = tuple(sorted((vendor, repr(source)) for vendor, source in self.images.sources.items()))
        return self.card.folder, self.card.script, self.surroundings.wrapped, self.surroundings.beside, images


def native_name(card: Card) -> str:
    """The card's name as a native one may have it."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", card.name.replace("/", SCOPE)).lstrip("._+-") or "card"


def check(card: Card) -> None:
    """Raises `CardError` for what makes a card impossible as a native one."""
    if not card.script.endswith((".sh", ".py")):
        raise CardError(f"{card.source}: {card.name}: found the script {card.script}, allowed: a .sh or a .py file")
    problem = args_problem(card.args.strip("\n"))
    if problem:
        raise CardError(f"{card.source}: {card.name}: args: {problem}")


def values(card: Card) -> dict[str, Any]:
    """What the card says, by the keys of a native card; what is the default is left out."""
    scope = card.name.rpartition("/")[0]
    tags = [*card.tags, *([scope] if scope and scope not in card.tags else [])]
    said: dict[str, Any] = {
        "args": card.args.strip("\n"),
        "tags": list(dict.fromkeys(tags)),
        "gpus_per_node": "all" if card.gpus_per_node is None else card.gpus_per_node,
        "data": list(card.data),
        "timeout": _whole(card.timeout_s),
        "env": dict(card.env),
        "multiple_results": card.multiple_results,
        "training_precision": card.training_precision,
    }
    return {key: value for key, value in said.items() if value != _DEFAULTS[key]}


def _whole(seconds: float | None) -> float | int | None:
    return int(seconds) if seconds is not None and seconds.is_integer() else seconds


def groups(drafts: Iterable[Draft]) -> list[list[Draft]]:
    """Cards that become one file: the first is the card, the others its variants, whose tags hold all of its own."""
    found: list[list[Draft]] = []
    heads: dict[tuple[object, ...], list[list[Draft]]] = {}
    for draft in sorted(drafts, key=lambda draft: len(draft.card.tags)):
        for group in heads.setdefault(draft.shared, []):
            if set(values(group[0].card).get("tags", [])) <= set(values(draft.card).get("tags", [])):
                group.append(draft)
                break
        else:
            heads[draft.shared].append([draft])
            found.append(heads[draft.shared][-1])
    return found


def render(group: list[Draft]) -> str:
    """The text of model.yaml for a card and its variants."""
    import yaml

    first = group[0]
    own = values(first.card)
    data = {"name": first.name, "script": first.script, **own, "images": _images(first)}
    if len(group) > 1:
        data["variants"] = {draft.name: _changes(own, values(draft.card)) for draft in group[1:]}
    text = _dumped(data, True)
    if yaml.safe_load(text) != data:  # a letter that YAML takes for a line break
        text = _dumped(data, False)
    return "".join(f"# {line}\n" for draft in group for line in _comments(draft)) + text


def _dumped(data: dict[str, Any], as_letters: bool) -> str:
    import yaml

    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=as_letters, width=1000, default_flow_style=None)
    return text


def _changes(own: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What a variant says otherwise than its card; its tags are added to the card's."""
    merged = {key: other.get(key, _DEFAULTS[key]) for key in (*own, *other)}
    changed = {key: value for key, value in merged.items() if key != "tags" and value != own.get(key, _DEFAULTS[key])}
    more = [tag for tag in other.get("tags", []) if tag not in own.get("tags", [])]
    return changed | ({"tags": more} if more else {})


def _images(draft: Draft) -> dict[str, dict[str, str]]:
    """Paths of Dockerfiles count from the card's folder, two below the root."""

    def shown(source: ImageSource) -> dict[str, str]:
        if source.image:
            return {"image": source.image}
        return {"dockerfile": f"../../{source.dockerfile}", "context": str(source.context)}

    return {vendor: shown(source) for vendor, source in draft.images.sources.items()}


def _comments(draft: Draft) -> list[str]:
    assert draft.card.mad is not None
    owner = f", owner {draft.card.mad.owner}" if draft.card.mad.owner else ""
    lines = [f"{draft.name}: in the MAD repository {draft.card.name}{owner}"]
    lines += [f"  {note}" for note in draft.notes]
    if draft.surroundings.wrapped:
        lines.append(f"  {WRAPPER} gives the script what it had there (run_directory, ../)")
    return ["".join(letter if letter.isprintable() else " " for letter in line) for line in lines]
