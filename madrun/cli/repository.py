"""The repository that a command works on, and its cards."""

from __future__ import annotations

import os
from pathlib import Path

from madrun.cli.request import Request
from madrun.errors import UsageError
from madrun.registry.catalogue import Catalogue, load, locate, root_hint, shipped_places
from madrun.registry.mad.generator import LIMIT_S, LIMIT_VARIABLE
from madrun.registry.selection import choose_cards
from madrun.spec.card import Card
from madrun.units import parse_duration

MODEL_DIR = "MODEL_DIR"


def find_repository(repo: str | None) -> Path:
    """`--repo`, else MODEL_DIR of the environment, else the current directory, else the one installed with madrun."""
    return locate(repo, Path.cwd(), os.environ.get(MODEL_DIR) or None)


def fallback_note(repository: Path, repo: str | None) -> str:
    """What to say where cards of another place than this directory are used though nobody named it; else empty."""
    here = Path.cwd()
    if repo is not None or os.environ.get(MODEL_DIR) or repository == here or repository not in shipped_places():
        return ""
    return f"{here} holds no cards: these are installed with madrun; --repo DIR names a repository{root_hint(here)}"


def read_catalogue(repository: Path) -> Catalogue:
    """Every card; generators of cards may take as long as the environment says."""
    return load(repository, _limit())


def chosen_of(request: Request, catalogue: Catalogue) -> list[Card]:
    """The cards that a command without a manifest means: those of its tags, or of a list of what to build."""
    if request.building.batch_manifest is None:
        return choose_cards(catalogue, request.tags)
    from madrun.cli.batch import cards_of_batch

    return cards_of_batch(request.building.batch_manifest, request.tags, catalogue)


def _limit() -> float:
    said = os.environ.get(LIMIT_VARIABLE)
    if not said:
        return LIMIT_S
    try:
        limit = parse_duration(said)
    except ValueError as error:
        raise UsageError(f"{LIMIT_VARIABLE}: {error}") from None
    if limit <= 0:
        raise UsageError(f"{LIMIT_VARIABLE}: found {said!r}, allowed: a time above 0, as 90s or 10m")
    return limit
