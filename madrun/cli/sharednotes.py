"""What is to be said of many cards, said once."""

from __future__ import annotations

from collections.abc import Iterable

from madrun.cli.tables import some
from madrun.spec.card import Card

_SHOWN = 2  # names of cards behind a note


def shared_notes(notes: Iterable[tuple[Card, str]], all_cards: int = 0) -> list[str]:
    """Each note once, in order; one that differs in nothing but the card comes with the number of the others.

    `all_cards`: how many the command has; a note that some of them have, and that names none, then says which.
    """
    cards: dict[tuple[str, bool], dict[str, Card]] = {}
    for card, note in notes:
        text = note.removeprefix(_head(card))
        cards.setdefault((text, text != note), {}).setdefault(card.name, card)
    return [
        _of_cards(text, list(found.values())) if is_of_card else _of_some(text, list(found), all_cards)
        for (text, is_of_card), found in cards.items()
    ]


def of_card(card: Card, text: str) -> str:
    """The note with the place of its card."""
    return f"{_head(card)}{text}"


def _head(card: Card) -> str:
    return f"{card.source}: {card.name}: "


def _of_cards(text: str, cards: list[Card]) -> str:
    others = len(cards) - 1
    more = f" (and {others} more card{'s' * (others > 1)})" if others else ""
    return f"{of_card(cards[0], text)}{more}"


def _of_some(text: str, names: list[str], all_cards: int) -> str:
    return f"{text} [{some(names, _SHOWN)}]" if len(names) < all_cards else text
