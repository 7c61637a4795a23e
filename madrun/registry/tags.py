"""The tag grammar: a card's name, a tag, or `all`; `dir/x` narrows; `card:key=value:flag` adds arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from madrun.errors import UsageError
from madrun.spec.card import Card
from madrun.spec.validation import nearest

SELECTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*)*")
ARGUMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(=[A-Za-z0-9_.,:/+@%-]*)?")


def split_tags(values: Iterable[str]) -> list[str]:
    """`--tags a b`, `--tags a,b` and `--tags a --tags b` as one list without repeats."""
    parts = (part.strip() for value in values for part in value.split(","))
    return list(dict.fromkeys(part for part in parts if part))


def select(cards: tuple[Card, ...], tags: Iterable[str]) -> list[Card]:
    """The cards that the tags mean, each once and in order of the tags; `UsageError` names what is near."""
    chosen: dict[tuple[str, str], Card] = {}
    for tag in tags:
        selector, *arguments = tag.split(":")
        found = [card for card in cards if _matches(card, _checked(selector, tag))]
        if not found:
            raise UsageError(_no_match(selector, cards))
        extra = "".join(f" --{_checked_argument(argument, tag)}" for argument in arguments)
        for card in found:
            changed = replace(card, args=card.args + extra)
            chosen.setdefault((changed.name, changed.args), changed)
    return list(chosen.values())


def _checked(selector: str, tag: str) -> str:
    if not SELECTOR.fullmatch(selector):
        raise UsageError(
            f"--tags: found {tag!r}, allowed: a card's name, a tag, 'all' or folder/name "
            "(letters, digits, '.', '_', '+', '-'), then :key=value or :flag"
        )
    return selector


def _checked_argument(argument: str, tag: str) -> str:
    if not ARGUMENT.fullmatch(argument):
        raise UsageError(f"--tags: found {argument!r} in {tag!r}, allowed: key=value or flag, without shell characters")
    return argument.replace("=", " ")


def _matches(card: Card, selector: str) -> bool:
    if selector == card.name:
        return True
    scope, _, word = selector.rpartition("/")
    if card.mad is not None:
        folder = card.name.rpartition("/")[0]
        return (not scope or folder == scope) and (word in ("all", card.mad.short) or word in card.tags)
    if scope and Path(card.folder).name != scope:
        return False
    return word in ("all", card.name) or word in card.tags


def _no_match(selector: str, cards: tuple[Card, ...]) -> str:
    words = sorted({word for card in cards for word in (card.name, *card.tags)})
    near = nearest(selector.rpartition("/")[2], words)
    hint = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(words[:20])}"
    return f"--tags: no card or tag {selector!r}; {hint} (madrun list shows all)"
