"""The command that repeats one card of those that a command has run."""

from __future__ import annotations

from collections.abc import Sequence

from madrun.cli.argv import tags_of, with_tag
from madrun.registry.tags import as_arguments, matches, split_tags
from madrun.spec.card import Card


def again_of(words: tuple[str, ...], tags: Sequence[str], card: Card, alone: bool) -> tuple[str, ...]:
    """The command for this card, with the arguments that its tag gave it; as it was typed where it was `alone`."""
    if alone or not tags:
        return words
    parts = [tag.partition(":") for tag in tags]
    said = [rest for selector, _, rest in parts if rest and matches(card, selector) and _gave(rest, card.args)]
    return with_tag(words, ":".join([card.name, *said[:1]]))


def again_of_record(words: tuple[str, ...], card: str, args: str) -> tuple[str, ...]:
    """The same for a run of which the record alone is known: nothing tells how many cards its tags meant."""
    tags = split_tags(tags_of(words))
    if not tags or tags == [card]:
        return words
    said = [rest for _, _, rest in (tag.partition(":") for tag in tags) if rest and _gave(rest, args)]
    return with_tag(words, ":".join([card, *said[:1]]))


def _gave(rest: str, args: str) -> bool:
    """A card may be run twice, with arguments of a tag and without."""
    return args.endswith(as_arguments(rest.split(":")))
