"""Whether the script of a card is there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from madrun.errors import CardError
from madrun.spec.card import Card


def require_script(card: Card) -> None:
    """Raises `CardError` where the card's script does not exist."""
    for _, text in missing_scripts([card]):
        raise CardError(text)


def missing_scripts(cards: Iterable[Card]) -> Iterator[tuple[Card, str]]:
    """The cards of MAD repositories without their script, and what to say. Asks once for a script of several cards."""
    there: dict[tuple[str, str], bool] = {}
    for card in cards:
        if card.mad is None:
            continue
        key = (card.folder, card.script)
        if key not in there:
            there[key] = os.path.isfile(f"{card.folder}/{card.script}")  # noqa: PTH113 - thousands of them
        if not there[key]:
            yield card, f"{card.source}: {card.name}: scripts: {card.folder}/{card.script} does not exist"
