"""The cards of one repository, and the repository that a command means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from madrun.errors import CardError, UsageError
from madrun.registry import native
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
        if not native.card_files(given):
            raise UsageError(f"--repo: {given} holds no cards (models/*/{native.FILE_NAME})")
        return given.resolve()
    if native.card_files(cwd):
        return cwd
    for candidate in shipped_places():
        if native.card_files(candidate):
            return candidate
    raise UsageError(f"no cards: {cwd} holds no models/*/{native.FILE_NAME}; name a repository with --repo DIR")


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
                if card.name in cards:
                    first = cards[card.name].source
                    raise CardError(f"{card.source}: name: {card.name!r} is taken by {first}")
                cards[card.name] = card
        except CardError as error:
            broken.append(error)
    return Catalogue(repository, tuple(cards[name] for name in sorted(cards)), tuple(broken))
