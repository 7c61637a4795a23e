"""The cards of one repository, and the repository that a command means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from madrun.errors import CardError, UsageError
from madrun.registry import native
from madrun.registry.mad import discovery, generator
from madrun.spec.card import Card


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Cards sorted by name, and what could not be read; one broken card does not hide the others.

    `notes`: what is worth saying of a file, which is no error. `hooked`: names of the cards whose generator wants to
    change them once they are selected.
    """

    repository: Path
    cards: tuple[Card, ...]
    broken: tuple[CardError, ...]
    notes: tuple[tuple[Path, str], ...] = ()
    hooked: frozenset[str] = frozenset()
    limit_s: float = generator.LIMIT_S


def locate(repo: str | None, cwd: Path, model_dir: str | None = None) -> Path:
    """The repository meant: `--repo`, else MODEL_DIR, else the current directory, else the one that ships."""
    for word, given in (("--repo", repo), ("MODEL_DIR", model_dir)):
        if given is not None:
            return _given(word, Path(given).expanduser())
    for candidate in (cwd, *shipped_places()):
        if holds_cards(candidate):
            return candidate
    raise UsageError(f"no cards: {cwd} holds neither {_PLACES}; name a repository with --repo DIR{root_hint(cwd)}")


def _given(word: str, folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"{word}: {folder} is not a directory")
    if not holds_cards(folder):
        raise UsageError(f"{word}: {folder} holds no cards ({_PLACES}){root_hint(folder)}")
    return folder.resolve()


_PLACES = f"models/*/{native.FILE_NAME} nor {discovery.FILE_NAME}"


def root_hint(folder: Path) -> str:
    """What to do where only the root file of a model repository is missing; else empty."""
    if not discovery.lacks_root(folder):
        return ""
    return f"; its scripts have cards, but a model repository has a {discovery.FILE_NAME} in its root: write [] there"


def holds_cards(folder: Path) -> bool:
    """Whether the folder is the root of a model repository, in either form."""
    return discovery.is_repository(folder) or any(True for _ in folder.glob(f"models/*/{native.FILE_NAME}"))


def shipped_places() -> tuple[Path, ...]:
    """Where the cards of the project lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    return (package / "shipped", package.parent)


def load(repository: Path, limit_s: float | None = generator.LIMIT_S) -> Catalogue:
    """Reads every card of the repository; two cards of one name are an error of the second.

    `limit_s`: how long a generator of cards may take; None where none is to run.
    """
    cards: dict[str, Card] = {}
    broken: list[CardError] = []
    for path in native.card_files(repository):
        try:
            for card in native.read_cards(path, repository):
                _add(cards, card)
        except CardError as error:
            broken.append(error)
    found = discovery.Found()
    if discovery.is_repository(repository):
        found = discovery.read_repository(repository, limit_s)
        broken += found.broken
        _add_all(cards, found.cards, broken)
    return Catalogue(
        repository=repository,
        cards=tuple(cards[name] for name in sorted(cards)),
        broken=tuple(broken),
        notes=tuple(found.notes),
        hooked=frozenset(found.hooked),
        limit_s=limit_s or generator.LIMIT_S,
    )


def _add_all(cards: dict[str, Card], more: Iterable[Card], broken: list[CardError]) -> None:
    for card in more:
        try:
            _add(cards, card)
        except CardError as error:
            broken.append(discovery.BrokenCard(str(error), "", card))


def _add(cards: dict[str, Card], card: Card) -> None:
    if card.name in cards:
        raise CardError(f"{card.source}: name: {card.name!r} is taken by {cards[card.name].source}")
    cards[card.name] = card
