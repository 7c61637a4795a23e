"""`madrun list`: the cards of a repository."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from madrun.errors import ExitCode
from madrun.registry.catalogue import load, locate
from madrun.registry.tags import select, split_tags
from madrun.spec.card import Card
from madrun.spec.codec import to_json, to_plain
from madrun.spec.context import is_secret
from madrun.spec.masking import MASK


def print_cards(tags: list[str] | None, repo: str | None, as_json: bool) -> int:
    """Prints the cards; broken ones are named on stderr and make the exit code 2."""
    repository = locate(repo, Path.cwd())
    catalogue = load(repository)
    words = split_tags(tags or [])
    cards = select(catalogue.cards, words) if words else list(catalogue.cards)
    sys.stdout.write(to_json([_shown(card) for card in cards]) if as_json else _table(cards))
    for error in catalogue.broken:
        sys.stderr.write(f"madrun: error: {error}\n")
    return int(ExitCode.USAGE if catalogue.broken else ExitCode.OK)


def _shown(card: Card) -> dict[str, Any]:
    """The card as JSON has it, with secret variables and build arguments masked."""
    plain: dict[str, Any] = to_plain(card)
    for values in (plain["env"], *(image["args"] for image in plain["images"].values())):
        values |= {name: MASK for name in values if is_secret(name)}
    return plain


def _table(cards: list[Card]) -> str:
    width = max((len(card.name) for card in cards), default=0)
    tags = max((len(",".join(card.tags)) for card in cards), default=0)
    lines = (f"{card.name:<{width}}  {','.join(card.tags):<{tags}}  {card.description}".rstrip() for card in cards)
    return "".join(f"{line}\n" for line in lines)
