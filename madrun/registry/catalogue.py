"""The cards of one repository, and the repository that a command means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from madrun.errors import CardError, UsageError
from madrun.registry import native
from madrun.registry.mad import discovery
from madrun.spec.card import Card


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Cards sorted by name, and what could not be read; one broken card does not hide the others."""

    repository: Path
    cards: tuple[Card, ...]
    broken: tuple[CardError, ...]


def locate(repo: str | None, cwd: Path) -> Path:
    """The repository meant: `--repo`, else the current directory, else the one installed with madrun."""
    if repo is not None:
        given = Path(repo).expanduser()
        if not given.is_dir():
            raise UsageError(f"--repo: {given} is not a directory")
        if not holds_cards(given):
            raise UsageError(f"--repo: {given} holds no cards ({_PLACES})")
        return given.resolve()
    for candidate in (cwd, *shipped_places()):
        if holds_cards(candidate):
            return candidate
    raise UsageError(f"no cards: {cwd} holds neither {_PLACES}; name a repository with --repo DIR")


_PLACES = f"models/*/{native.FILE_NAME} nor {discovery.FILE_NAME}"


def holds_cards(folder: Path) -> bool:
    """Whether the folder is the root of a model repository, in either form."""
    return discovery.is_repository(folder) or bool(native.card_files(folder))


def shipped_places() -> tuple[Path, ...]:
    """Where the cards of the project lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    return (package / "shipped", package.parent)


def load(repository: Path) -> Catalogue:
    """Reads every card of the repository; two cards of one name are an error of the second."""
    cards: dict[str, Card] = {}
    broken: list[CardError] = []
    for path in native.card_files(repository):
        try:
            for card in native.read_cards(path, repository):
                _add(cards, card)
        except CardError as error:
            broken.append(error)
    if discovery.is_repository(repository):
        found, wrong = discovery.read_repository(repository)
        broken += wrong
        for card in found:
            try:
                _add(cards, card)
            except CardError as error:
                broken.append(error)
    return Catalogue(repository, tuple(cards[name] for name in sorted(cards)), tuple(broken))


def _add(cards: dict[str, Card], card: Card) -> None:
    if card.name in cards:
        raise CardError(f"{card.source}: name: {card.name!r} is taken by {cards[card.name].source}")
    cards[card.name] = card
