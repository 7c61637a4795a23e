"""What the rules look at: a repository with its cards, and one card of it with its place in a file."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from madrun.registry.cardtree import IGNORED
from madrun.registry.lint.finding import Hit
from madrun.registry.lint.places import Entry, entries
from madrun.registry.lint.texts import Text, Texts
from madrun.registry.mad.dockerfiles import HEADER_LINES
from madrun.spec.card import Card

_DATA = (".bin", ".pt", ".safetensors", ".tar", ".gz", ".zip", ".png", ".jpg", ".parquet", ".npy", ".whl", ".so")


@dataclass(frozen=True)
class Listing:
    """A file that registers cards: models.json, or a generator."""

    name: str
    entries: tuple[Entry, ...]

    @cached_property
    def by_name(self) -> dict[str, Entry]:
        """The first entry of each name."""
        return {entry.name: entry for entry in reversed(self.entries)}


class Repository:
    """The checkout: its cards, the names and files that they may refer to, each file read once."""

    def __init__(self, folder: Path, cards: Iterable[Card]) -> None:
        self.folder = folder
        self.cards = tuple(cards)
        self.texts = Texts(folder)
        self.shorts = {short_name(card) for card in self.cards}
        self.cloning = frozenset(card.name for card in self.cards if card.mad and card.mad.url)
        self.options: dict[str, frozenset[str] | None] = {}  # of a script's own parser, by the name of the file
        self._folders: dict[str, tuple[Text, ...]] = {}
        self._files: dict[Path, frozenset[str]] = {}
        self._listings: dict[str, Listing] = {}

    @cached_property
    def data_names(self) -> frozenset[str] | None:
        """The names in data.json; None where there is no such file, or none that can be read."""
        return self.keys_of("data.json")

    @cached_property
    def by_script(self) -> dict[tuple[str, str], list[Card]]:
        """The cards of each script."""
        found = defaultdict(list)
        for card in self.cards:
            found[card.folder, card.script].append(card)
        return found

    def keys_of(self, name: str) -> frozenset[str] | None:
        """The keys of a JSON file at the root."""
        text = self.texts.read(self.folder / name)
        try:
            data = json.loads(text.raw) if text else None
        except (ValueError, RecursionError):
            data = None
        return frozenset(data) if isinstance(data, dict) else None

    def listing(self, source: str) -> Listing:
        """The file that a card came from, with its entries where it has any."""
        path = Path(source.rpartition(":")[0] if source.rpartition(":")[2].isdigit() else source)
        key = str(path)
        if key not in self._listings:
            text = self.texts.read(path)
            found = entries(text.raw) if text and path.suffix == ".json" else []
            self._listings[key] = Listing(self.texts.name(path), tuple(found))
        return self._listings[key]

    def folder_texts(self, folder: str) -> tuple[Text, ...]:
        """Every text below a card's folder."""
        if folder not in self._folders:
            found = []
            for parent, folders, names in os.walk(folder):
                folders[:] = sorted(set(folders) - IGNORED)
                paths = (Path(parent, name) for name in sorted(names) if not name.endswith(_DATA))
                found += [text for text in map(self.texts.read, paths) if text]
            self._folders[folder] = tuple(found)
        return self._folders[folder]

    def beside(self, prefix: str) -> list[str]:
        """Every file `<prefix>.*`, relative to the repository; each folder is listed once."""
        path = self.folder / prefix
        if path.parent not in self._files:
            try:
                self._files[path.parent] = frozenset(entry.name for entry in os.scandir(path.parent) if entry.is_file())
            except OSError:
                self._files[path.parent] = frozenset()
        parent = prefix.rpartition("/")[0]
        names = (name for name in self._files[path.parent] if name.startswith(f"{path.name}."))
        found = sorted(name for name in names if not name.endswith(".dockerignore"))
        return [f"{parent}/{name}" if parent else name for name in found]


@dataclass(frozen=True)
class CardView:
    """One card, and the repository that it stands in."""

    card: Card
    repository: Repository

    @cached_property
    def listing(self) -> Listing:
        """The file that it stands in."""
        return self.repository.listing(self.card.source)

    @cached_property
    def entry(self) -> Entry | None:
        """Its entry, of a models.json."""
        return self.listing.by_name.get(short_name(self.card))

    @cached_property
    def values(self) -> dict[str, Any]:
        """The entry's values as they were written; empty where no entry is known."""
        return self.entry.values if self.entry else {}

    @cached_property
    def script(self) -> Text | None:
        """The script that the card starts, where it can be read."""
        return self.repository.texts.read(Path(self.card.folder, self.card.script))

    def hit(self, key: str, found: str) -> Hit:
        """A hit at a key of the card."""
        line = self.entry.line_of(key) if self.entry else _native_line(self.card.source)
        return Hit(self.listing.name, line, found, (self.card.name,))


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile of MAD cards."""

    text: Text
    cards: tuple[str, ...]

    @property
    def head(self) -> tuple[str, ...]:
        """The lines that may hold the header."""
        return self.text.lines[:HEADER_LINES]


def short_name(card: Card) -> str:
    """The card's name as its file has it."""
    return card.mad.short if card.mad else card.name


def _native_line(source: str) -> int:
    line = source.rpartition(":")[2]
    return int(line) if line.isdigit() else 1
