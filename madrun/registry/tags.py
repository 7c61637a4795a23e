"""The tag grammar: a card's name, a tag, or `all`; `dir/x` narrows; `card:key=value:flag` adds arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from madrun.errors import UsageError
from madrun.spec.card import Card
from madrun.spec.validation import nearest

SELECTOR = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*")
_SHOWN = 20  # tags and names in one message
ARGUMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(=[A-Za-z0-9_.,:/+@%-]*)?")


def split_tags(values: Iterable[str]) -> list[str]:
    """`--tags a b`, `--tags a,b` and `--tags a --tags b` as one list without repeats."""
    parts = (part.strip() for value in values for part in value.split(","))
    return list(dict.fromkeys(part for part in parts if part))


def select(cards: tuple[Card, ...], tags: Iterable[str]) -> list[Card]:
    """The cards that the tags mean, each once and in order of the tags; `UsageError` names what is near."""
    return joined((card, extra) for tag in tags for card, extra in meant(cards, tag))


def joined(chosen: Iterable[tuple[Card, str]]) -> list[Card]:
    """The cards with what is added to their arguments, each once."""
    found: dict[tuple[str, str], Card] = {}
    for card, extra in chosen:
        changed = replace(card, args=card.args + extra) if extra else card
        found.setdefault((changed.name, changed.args), changed)
    return list(found.values())


def meant(cards: tuple[Card, ...], tag: str) -> list[tuple[Card, str]]:
    """The cards that one tag means, with what it adds to the arguments of each."""
    selector, *arguments = tag.split(":")
    found = [card for card in cards if matches(card, selector)]
    if not found:
        raise UsageError(_no_match(selector, arguments, tag, cards))
    return [(card, _extra(card, arguments, tag)) for card in found]


def matches(card: Card, selector: str) -> bool:
    """Whether the part of a tag before its first colon means the card."""
    if selector in (card.name, "all") or selector in card.tags:
        return True
    scope, slash, word = selector.rpartition("/")
    if card.mad is not None:
        folder = card.name.rpartition("/")[0]
        if word == card.mad.short and (not slash or folder == scope):
            return True
        return bool(slash) and f"{folder}/".startswith(f"{scope}/") and (word == "all" or word in card.tags)
    return bool(slash) and Path(card.folder).name == scope and (word in ("all", card.name) or word in card.tags)


def _extra(card: Card, arguments: list[str], tag: str) -> str:
    """What is added to the arguments. A MAD card's go to the shell in the container as they are written."""
    for argument in arguments:
        if card.mad is None and not ARGUMENT.fullmatch(argument):
            allowed = "key=value or flag, without shell characters"
        elif card.mad is not None and not (argument.strip() and argument[0] not in "=-" and argument.isprintable()):
            allowed = "key=value or flag, as the script takes them without the leading --"
        else:
            continue
        raise UsageError(f"--tags: found {argument!r} in {tag!r}, allowed: {allowed}")
    return as_arguments(arguments)


def as_arguments(parts: Iterable[str]) -> str:
    """What the parts of a tag behind its name add to a command line."""
    return "".join(f" --{part.replace('=', ' ')}" for part in parts)


def _no_match(selector: str, arguments: list[str], tag: str, cards: tuple[Card, ...]) -> str:
    if any(card.mad is not None and card.name.startswith(f"{selector}/") for card in cards):
        return _is_folder(selector, arguments)
    if not SELECTOR.fullmatch(selector):
        return (
            f"--tags: found {tag!r}, allowed: a card's name, a tag, 'all' or folder/name "
            "(letters, digits, '.', '_', '+', '-'), then :key=value or :flag"
        )
    tags, names = {tag for card in cards for tag in card.tags}, {card.name for card in cards}
    word = selector.rpartition("/")[2]
    words = [*sorted(tags), *sorted(names - tags)]
    part_of = [one for one in words if len(word) > 2 and word.lower() in one.lower()]
    near = nearest(word, words) or part_of[:3]
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    hint = f"nearest: {', '.join(near)}" if near else f"known: {', '.join(words[:_SHOWN])}{more}"
    where = f"of {cards[0].repository}; " if cards else ""
    return f"--tags: no card or tag {selector!r}; {hint} ({where}madrun list shows all)"


def _is_folder(selector: str, arguments: list[str]) -> str:
    """`dir:tag:arg`, as older documentation has it, never selected anything."""
    word = arguments[0] if arguments and "=" not in arguments[0] and arguments[0] else "all"
    rest = "".join(f":{argument}" for argument in (arguments[1:] if word != "all" else arguments))
    return (
        f"--tags: {selector!r} is a folder of cards, not a card or a tag; write {selector}/{word}{rest} "
        f"(folder/name, folder/tag or folder/all, then :key=value)"
    )
