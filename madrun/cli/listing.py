"""`madrun list`: the cards of a repository."""

from __future__ import annotations

import os
import sys
from typing import Any

from madrun.cli.repository import fallback_note, find_repository, read_catalogue
from madrun.cli.sharednotes import of_card, shared_notes
from madrun.errors import ExitCode
from madrun.registry.catalogue import Catalogue
from madrun.registry.mad.scripts import missing_scripts
from madrun.registry.selection import choose_cards
from madrun.registry.tags import split_tags
from madrun.spec.card import Card
from madrun.spec.codec import to_json, to_plain
from madrun.spec.context import is_secret
from madrun.spec.mad import ALL_GPUS
from madrun.spec.masking import MASK


def print_cards(tags: list[str] | None, repo: str | None, as_json: bool) -> int:
    """Prints the cards; broken ones are named on stderr and make the exit code 2."""
    repository = find_repository(repo)
    catalogue = read_catalogue(repository)
    words = split_tags(tags or [])
    cards = choose_cards(catalogue, words, with_broken=False) if words else list(catalogue.cards)
    sys.stdout.write(to_json([_shown(card) for card in cards]) if as_json else _table(cards))
    errors = [*map(str, catalogue.broken), *(text for _, text in missing_scripts(cards))]
    notes = shared_notes((card, text) for card in cards for text in card.warnings) if words else _notes(catalogue)
    if note := fallback_note(repository, repo):
        sys.stderr.write(f"madrun: {note}\n")
    sys.stderr.write("".join(f"madrun: warning: {note}\n" for note in notes))
    sys.stderr.write("".join(f"madrun: error: {error}\n" for error in errors))
    return int(ExitCode.USAGE if errors else ExitCode.OK)


def _notes(catalogue: Catalogue) -> list[str]:
    """What is to be said of all cards and files; of what many cards share, one line."""
    of_files = [f"{file}: {text}" for file, text in catalogue.notes]
    return of_files + shared_notes((card, of_card(card, text)) for card in catalogue.cards for text in card.warnings)


def _shown(card: Card) -> dict[str, Any]:
    """The card as JSON has it, with secret variables and build arguments masked."""
    plain: dict[str, Any] = to_plain(card)
    variables = [plain["env"], *(image["args"] for image in plain["images"].values())]
    for values in (*variables, *([plain["mad"]["env_vars"]] if card.mad else [])):
        values |= {name: MASK for name in values if is_secret(name)}
    return plain


def _table(cards: list[Card]) -> str:
    width = max((len(card.name) for card in cards), default=0)
    tags = max((len(",".join(card.tags)) for card in cards), default=0)
    lines = (f"{card.name:<{width}}  {','.join(card.tags):<{tags}}  {_about(card)}".rstrip() for card in cards)
    return "".join(f"{line}\n" for line in lines)


def _about(card: Card) -> str:
    """The description; a card of a MAD repository has none, but GPUs and a script that tell cards apart."""
    if card.mad is None:
        return card.description
    count = card.mad.n_gpus
    gpus = "all GPUs" if count == ALL_GPUS else f"{count} GPU{'s' * (count != '1')}"
    script = f"{card.folder}/{card.script}".removeprefix(f"{card.repository}{os.sep}")
    return f"{gpus:<8}  {script}{'  deprecated' * card.mad.is_deprecated}"
