"""The cards that a command is about to use: chosen by tags, brought up to date, with what is to be said of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from madrun.errors import CardError, UsageError
from madrun.registry.catalogue import Catalogue
from madrun.registry.mad import discovery
from madrun.registry.tags import joined, matches, meant
from madrun.spec.card import Card

LEFT_OUT = "left out: "


def choose_cards(catalogue: Catalogue, tags: Iterable[str], with_broken: bool = True) -> list[Card]:
    """The cards in order of the tags, those of generators after their `update_model()`.

    Their warnings say where they stand, and, `with_broken`, what could not be read beside them. Raises `UsageError` for
    a tag that means nothing, or the `CardError` of a broken card that it means; `with_broken`, a card in trouble is
    among the others, for whoever plans it to raise.
    """
    chosen: list[tuple[Card, str]] = []
    words = list(tags)
    for tag in words:
        try:
            hits = meant(catalogue.cards, tag)
        except UsageError as error:
            raise _likelier(error, catalogue.broken, tag) from None
        chosen += [(_with_double_meaning(card, tag, catalogue.cards), extra) for card, extra in hits]
    said = _said(catalogue, words if with_broken else [])
    found = _up_to_date(chosen, catalogue)
    trouble = next((card.trouble for card, _ in found if card.trouble and not with_broken), "")
    if trouble:
        raise CardError(trouble)
    return joined((_telling(card, said), extra) for card, extra in found)


def broken_of(errors: Iterable[CardError], tags: Iterable[str]) -> list[CardError]:
    """The broken cards that the tags mean beside whole ones: no selected card is left out silently."""
    words = list(tags)
    return [error for error in errors if any(_is_meant(error, tag) for tag in words)]


def _likelier(error: UsageError, broken: Iterable[CardError], tag: str) -> UsageError:
    """Why a tag finds nothing, where something could not be read: the card meant, or a file that may hold it."""
    unread = [one for one in broken if not isinstance(one, discovery.BrokenCard) or one.stub is None]
    for one in (*broken_of(broken, [tag]), *unread):
        return one if one not in unread or not isinstance(one, discovery.BrokenCard) else UsageError(f"{error}\n{one}")
    return error


def _is_meant(error: CardError, tag: str) -> bool:
    """Whether the tag means the broken card; of one that could not be read at all, only `all` and its folder do."""
    selector = tag.partition(":")[0]
    if not isinstance(error, discovery.BrokenCard):
        return selector == "all"
    if error.stub is not None:
        return matches(error.stub, selector)
    return selector == "all" or (bool(error.scope) and selector.startswith(f"{error.scope}/"))


def _up_to_date(chosen: list[tuple[Card, str]], catalogue: Catalogue) -> list[tuple[Card, str]]:
    hooked = {card.name: card for card, _ in chosen if card.name in catalogue.hooked}
    if not hooked:
        return chosen
    changed = discovery.updated(hooked.values(), catalogue.repository, catalogue.limit_s)
    return [(changed.get(card.name, card), extra) for card, extra in chosen]


def _with_double_meaning(card: Card, tag: str, cards: tuple[Card, ...]) -> Card:
    """The card, with a warning where `dir:tag` was typed and both a card and a folder have that name."""
    selector, *arguments = tag.split(":")
    if not arguments or card.name != selector:
        return card
    other = f"{selector}/{arguments[0]}"
    if not any(matches(one, other) for one in cards if one.mad is not None):
        return card
    text = f"--tags: {tag!r} is the card {selector} with the argument --{arguments[0]}; cards of the folder: {other}"
    return replace(card, warnings=(*card.warnings, text))


def _said(catalogue: Catalogue, tags: list[str]) -> dict[str, list[str]]:
    """What is to be said of a card by the file it comes from; under the empty name what belongs to all."""
    said: dict[str, list[str]] = {"": []}
    for file, text in catalogue.notes:
        said.setdefault(str(file), []).append(f"{file}: {text}")
    broken = broken_of(catalogue.broken, tags)
    said[""] += [f"{LEFT_OUT}{error}" for error in broken]
    if tags:
        files = [error for error in catalogue.broken if isinstance(error, discovery.BrokenCard) and not error.stub]
        said[""] += [f"not read, so a tag may mean more cards: {error}" for error in files if error not in broken]
    return said


def _telling(card: Card, said: dict[str, list[str]]) -> Card:
    own = [text if text.startswith("--") else f"{card.source}: {card.name}: {text}" for text in card.warnings]
    every = (*own, *said.get(card.source, ()), *said[""])
    return replace(card, warnings=every) if every else card
