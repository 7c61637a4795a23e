"""Writes native cards for MAD cards into a new folder, and reads each back before it counts."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from madrun.errors import CardError, UsageError
from madrun.registry import native
from madrun.registry.cardtree import work_files
from madrun.registry.mad.discovery import FILE_NAME, GENERATOR
from madrun.registry.migrate import cardfile
from madrun.registry.migrate.cardfile import Draft
from madrun.registry.migrate.images import images_of
from madrun.registry.migrate.notes import lost
from madrun.registry.migrate.surroundings import WRAPPER, look_around, wrapper
from madrun.spec.card import Card
from madrun.spec.mad import RUN_DIRECTORY

DATA = "data.json"


@dataclass(slots=True)
class Outcome:
    """Cards by the name of their file's folder, what is left to do of each card, and which could not be migrated."""

    written: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: list[CardError] = field(default_factory=list)


def migrate(cards: Iterable[Card], repository: Path, target: Path) -> Outcome:
    """Writes the cards to `target`, which must be new or empty; it appears whole or not at all."""
    check_target(target)
    outcome = Outcome()
    drafts = _drafts(cards, outcome)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        for group in cardfile.groups(drafts):
            try:
                _write(group, repository, partial)
                _compare(group, partial)
            except CardError as error:
                outcome.failed.append(error)
                shutil.rmtree(partial / "models" / group[0].name, ignore_errors=True)
            else:
                outcome.written[group[0].name] = tuple(draft.name for draft in group)
                outcome.notes |= {draft.card.name: draft.notes for draft in group if draft.notes}
        if outcome.written:
            _write_data([draft.card for draft in drafts], repository, partial, outcome)
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return outcome


def check_target(target: Path) -> None:
    """Raises `UsageError` where something is in the way."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(f"--to: {target} is no folder; allowed: a new or an empty one")
    if target.is_dir() and any(target.iterdir()):
        raise UsageError(f"--to: {target} is not empty; allowed: a new or an empty folder, so that nothing is replaced")


def _drafts(cards: Iterable[Card], outcome: Outcome) -> list[Draft]:
    found: dict[str, Draft] = {}
    for card in cards:
        try:
            draft = _draft(card)
            if draft.name in found:
                other = found[draft.name].card.name
                raise CardError(f"{card.source}: {card.name}: the native name {draft.name} is taken by {other}")
            found[draft.name] = draft
        except CardError as error:
            outcome.failed.append(error)
        except OSError as error:
            outcome.failed.append(CardError(f"{error.filename or card.folder}: cannot be read: {error.strerror}"))
    return list(found.values())


def _draft(card: Card) -> Draft:
    cardfile.check(card)
    if not Path(card.folder, card.script).is_file():
        raise CardError(f"{card.source}: {card.name}: scripts: {card.folder}/{card.script} does not exist")
    surroundings, images = look_around(card), images_of(card)
    notes = [*lost(card), *images.notes]
    if surroundings.unset:
        names = ", ".join(surroundings.unset)
        notes.append(f"the script reads {names}: a native card does not set them; --env NAME hands a variable over")
    return Draft(card, cardfile.native_name(card), surroundings, images, tuple(notes))


def _write(group: list[Draft], repository: Path, root: Path) -> None:
    first = group[0]
    home = root / "models" / first.name
    home.mkdir(parents=True)
    for path in first.images.files:
        _copy(path, root / path.relative_to(repository))
    if first.surroundings.wrapped:
        _write_wrapped(first, repository, root, home)
    else:
        for name, path in first.surroundings.files.items():
            _copy(path, home / name)
    (home / native.FILE_NAME).write_text(cardfile.render(group), encoding="utf-8")


def _write_wrapped(draft: Draft, repository: Path, root: Path, home: Path) -> None:
    """The script's folder and what it reaches stand once, where they stood; the card has links to them."""
    folder = Path(draft.card.folder).relative_to(repository)
    places = {RUN_DIRECTORY: folder, **{name: Path(name) for name in draft.surroundings.beside}}
    for name, place in places.items():
        source, link = repository / place, home / name
        files = work_files(source, (), repository) if source.is_dir() else {"": source}
        for inner, path in files.items():
            if path.name not in (FILE_NAME, GENERATOR):
                _copy(path, root / place / inner)
        if (root / place).exists():  # a folder without files is nothing to lead to
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(root / place, link.parent))
    (home / WRAPPER).write_text(wrapper(draft.card.script), encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def _compare(group: list[Draft], root: Path) -> None:
    """Raises `CardError` where the file does not mean what the MAD cards mean."""
    file = root / "models" / group[0].name / native.FILE_NAME
    read = {card.name: card for card in native.read_cards(file, root)}
    for draft in group:
        new, old = cardfile.values(read[draft.name]), cardfile.values(draft.card)
        differ = [key for key in (*old, *new) if _plain(new.get(key)) != _plain(old.get(key))]
        if differ:
            where = f"{draft.card.source}: {draft.card.name}"
            raise CardError(f"{where}: {', '.join(differ)}: no native form keeps the value")


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, list) else value


def _write_data(cards: list[Card], repository: Path, root: Path, outcome: Outcome) -> None:
    """The entries of data.json that the cards name; a relative path goes on meaning what it means here."""
    names = {name for card in cards for name in card.data}
    if not names:
        return
    try:
        known = json.loads((repository / DATA).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        outcome.notes[DATA] = (f"cannot be read, so no entry was carried over: {error}",)
        return
    known = known if isinstance(known, dict) else {}
    kept = {name: _placed(known[name], repository) for name in sorted(names & set(known))}
    missing = sorted(names - set(known))
    notes = [f"{name}: not in {DATA}" for name in missing]
    notes += [f"{name}: custom: its script is not carried over" for name in kept if "custom" in known[name]]
    if notes:
        outcome.notes[DATA] = tuple(notes)
    (root / DATA).write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _placed(entry: object, repository: Path) -> object:
    local = entry.get("local") if isinstance(entry, dict) else None
    path = local.get("path") if isinstance(local, dict) else None
    if not isinstance(entry, dict) or not isinstance(local, dict) or not isinstance(path, str) or not path:
        return entry
    return entry | {"local": local | {"path": str(repository / path)}}
