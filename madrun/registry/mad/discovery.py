"""The cards of a MAD repository: root models.json, then every scripts/**/models.json and get_models_json.py."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from madrun.errors import CardError
from madrun.registry.mad.entry import card_of
from madrun.spec.card import Card

FILE_NAME, GENERATOR = "models.json", "get_models_json.py"


def is_repository(folder: Path) -> bool:
    """Whether the folder is the root of a MAD repository."""
    return (folder / FILE_NAME).is_file()


def read_repository(repository: Path) -> tuple[list[Card], list[CardError]]:
    """Every card, and what could not be read; one broken file does not hide the others."""
    cards: list[Card] = []
    broken: list[CardError] = []
    for file in _files(repository):
        try:
            cards += _read(file, repository)
        except CardError as error:
            broken.append(error)
    return cards, broken


def _files(repository: Path) -> Iterator[Path]:
    """The registration files, root first, then by path."""
    if (repository / FILE_NAME).is_file():
        yield repository / FILE_NAME
    for parent, folders, names in os.walk(repository / "scripts"):
        folders.sort()
        if FILE_NAME in names:
            yield Path(parent, FILE_NAME)


def _read(file: Path, repository: Path) -> list[Card]:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CardError(f"{file}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CardError(f"{file}: cannot be read: {error}") from None
    if not isinstance(entries, list):
        raise CardError(f"{file}: found {type(entries).__name__}, allowed: a list of cards")
    scope = "" if file.parent == repository else str(file.parent.relative_to(repository / "scripts"))
    return [card_of(entry, file, repository, scope) for entry in entries]
