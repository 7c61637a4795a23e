"""The cards of a MAD repository: root models.json, then every scripts/**/models.json and get_models_json.py."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from madrun.errors import CardError
from madrun.registry.cardtree import IGNORED
from madrun.registry.mad import generator
from madrun.registry.mad.entry import card_of, check_text, stub_of
from madrun.registry.mad.fields import Wrong
from madrun.registry.mad.jsonsource import line_of, read_json, starts_of
from madrun.spec.card import Card

FILE_NAME, GENERATOR = "models.json", "get_models_json.py"
_SCOPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*")


class BrokenCard(CardError):
    """A card that could not be read, or a whole file of them.

    `stub` has the name, also in `card`, and the tags that would have selected it; without one, every card of `scope`
    may be meant.
    """

    def __init__(self, text: str, scope: str, stub: Card | None = None) -> None:
        super().__init__(text)
        self.scope, self.stub = scope, stub
        self.card = stub.name if stub else ""


@dataclass(slots=True)
class Found:
    """Cards, what could not be read, and notes: (file, text). `hooked`: cards with an `update_model()` of their own."""

    cards: list[Card] = field(default_factory=list)
    broken: list[CardError] = field(default_factory=list)
    notes: list[tuple[Path, str]] = field(default_factory=list)
    hooked: set[str] = field(default_factory=set)


def is_repository(folder: Path) -> bool:
    """Whether the folder is the root of a MAD repository."""
    return (folder / FILE_NAME).is_file()


def lacks_root(folder: Path) -> bool:
    """Whether only the root's models.json is missing to make the folder a repository. For messages: it looks deep."""
    return not is_repository(folder) and any(files for _, files in _folders(folder / "scripts", (), []))


def read_repository(repository: Path, limit_s: float | None = generator.LIMIT_S) -> Found:
    """Every card; one broken file does not hide the others. Without a limit no generator runs: only files are read."""
    found = Found()
    _read_file(repository / FILE_NAME, repository, "", found)
    asked: list[generator.Question] = []
    closed: list[Path] = []
    for folder, files in _folders(repository / "scripts", (), closed):
        scope = str(folder.relative_to(repository / "scripts")) if folder != repository / "scripts" else ""
        if len(files) > 1:
            text = f"{folder}: found {FILE_NAME} and {GENERATOR}, allowed: one of them; neither is read"
            found.broken.append(BrokenCard(text, scope))
        elif not _SCOPE.fullmatch(scope):
            found.broken.append(BrokenCard(_bad_scope(folder / files[0], scope), scope))
        elif files == [FILE_NAME]:
            _read_file(folder / FILE_NAME, repository, scope, found)
        else:
            asked.append(generator.Question(folder / GENERATOR))
    found.notes += [(folder, "cannot be entered, so cards in it are not seen") for folder in closed]
    if limit_s is not None and asked:
        for answer in generator.ask(asked, repository, limit_s):
            _take(answer, repository, found)
    return found


def updated(cards: Iterable[Card], repository: Path, limit_s: float) -> dict[str, Card]:
    """The cards, by name, as they are after their generators' `update_model()`; those of one that fails in trouble."""
    names: dict[str, list[Card]] = {}
    for card in cards:
        names.setdefault(card.source, []).append(card)
    questions = [generator.Question(Path(file), tuple(map(_short, group))) for file, group in names.items()]
    changed: dict[str, Card] = {}
    for answer in generator.ask(questions, repository, limit_s):
        if answer.error:
            changed |= {card.name: replace(card, trouble=str(answer.error)) for card in names[str(answer.file)]}
            continue
        scope = _scope_of(answer.file, repository)
        before = {card.name: card for card in names[str(answer.file)]}
        for one in answer.cards:
            name = f"{scope}/{one['name']}"
            try:
                card = _checked_card(one["entry"], answer.file, repository, scope)
            except Wrong as wrong:
                card = replace(before[name], trouble=_told(answer.file, one["entry"], wrong))
            changed.setdefault(name, card)
    return changed


def _folders(top: Path, crossed: tuple[str, ...], closed: list[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below that has one or both of the files, by path; `closed` gets those that could not be entered.

    Links are followed, but not in circles; `crossed`: the real folders that held the links that led here.
    """
    inside: list[tuple[str, bool]] = []
    files: list[str] = []
    try:
        with os.scandir(top) as entries:
            for entry in entries:
                name = entry.name
                if name in (FILE_NAME, GENERATOR):
                    files.append(name)
                elif name[0] != "." and name not in IGNORED and _is_folder(entry):
                    inside.append((name, entry.is_symlink()))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        closed.append(top)
        return
    if files:
        yield top, sorted(files)
    for name, linked in sorted(inside):
        below = top / name
        if not linked:
            yield from _folders(below, crossed, closed)
            continue
        led = (*crossed, os.path.realpath(top))
        real = os.path.realpath(below)
        if not any(folder == real or folder.startswith(f"{real}/") for folder in led):
            yield from _folders(below, led, closed)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Not so for a link that leads to itself, which cannot be looked at."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _read_file(file: Path, repository: Path, scope: str, found: Found) -> None:
    try:
        text, entries = read_json(file)
    except CardError as error:
        found.broken.append(BrokenCard(str(error), scope))
        return
    if not isinstance(entries, list):
        wrong = f"{file}: found {type(entries).__name__}, allowed: a list of cards"
        if "/" in scope:  # deep in somebody else's tree a file of this name may be anything
            found.notes.append((file, f"{wrong}; left alone"))
        else:
            found.broken.append(BrokenCard(wrong, scope))
        return
    escapes = "\\u" in text
    starts: list[int] = []
    for index, entry in enumerate(entries):
        try:
            if escapes and isinstance(entry, dict):
                check_text(entry)
            found.cards.append(card_of(entry, file, repository, scope))
        except Wrong as wrong:
            starts = starts or starts_of(text)
            where = f"{file}:{line_of(text, starts[index], wrong.key.partition('.')[0] or None)}"
            found.broken.append(BrokenCard(_told(where, entry, wrong), scope, stub_of(entry, scope)))


def _take(answer: generator.Answer, repository: Path, found: Found) -> None:
    """The cards of a generator."""
    scope = _scope_of(answer.file, repository)
    found.notes += [(answer.file, text) for text in answer.said]
    if answer.error:
        found.broken.append(BrokenCard(str(answer.error), scope))
    for one in answer.cards:
        try:
            card = _checked_card(one["entry"], answer.file, repository, scope)
        except Wrong as wrong:
            text = _told(answer.file, one["entry"], wrong)
            found.broken.append(BrokenCard(text, scope, stub_of(one["entry"], scope)))
            continue
        found.cards.append(card)
        if one["hook"]:
            found.hooked.add(card.name)


def _checked_card(entry: dict[str, Any], file: Path, repository: Path, scope: str) -> Card:
    check_text(entry)
    return card_of(entry, file, repository, scope)


def _told(where: Path | str, entry: Any, wrong: Wrong) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    of = f"{name}: " if isinstance(name, str) and name and wrong.key != "name" else ""
    return f"{where}: {of}{f'{wrong.key}: ' if wrong.key else ''}{wrong}"


def _scope_of(file: Path, repository: Path) -> str:
    return str(file.parent.relative_to(repository / "scripts"))


def _short(card: Card) -> str:
    assert card.mad is not None
    return card.mad.short


def _bad_scope(file: Path, scope: str) -> str:
    if not scope:
        return f"{file}: lies in scripts itself, allowed: a folder below it, whose name the cards get"
    return f"{file}: found the folder {scope!r}, allowed: {_FOLDER_RULE}; the names of its cards begin with it"


_FOLDER_RULE = "letters, digits, '.', '_', '+', '-'"
