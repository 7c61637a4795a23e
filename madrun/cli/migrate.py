"""`madrun migrate`: native cards for those of a MAD repository."""

from __future__ import annotations

import sys
from pathlib import Path

from madrun.cli.repository import find_repository, read_catalogue
from madrun.cli.tables import many
from madrun.errors import ExitCode, UsageError
from madrun.registry.migrate import migration
from madrun.registry.selection import choose_cards
from madrun.registry.tags import split_tags


def migrate(tags: list[str] | None, repo: str | None, to: str) -> int:
    """Writes the cards and prints their names; 2 where one of them could not be migrated."""
    target = Path(to).expanduser().resolve()
    migration.check_target(target)
    repository = find_repository(repo).resolve()
    if target == repository:
        raise UsageError(f"--to: {target} is the repository itself; allowed: a new or an empty folder")
    catalogue = read_catalogue(repository)
    words = split_tags(tags or [])
    # What a generator of cards does to a selected one belongs to the card.
    chosen = choose_cards(catalogue, words or ["all"], with_broken=False) if words or catalogue.cards else []
    cards = [card for card in chosen if card.mad]
    if not cards and not catalogue.broken:
        raise UsageError(f"{repository}: no card of the MAD form is selected; native ones stay as they are")
    outcome = migration.migrate(cards, repository, target)
    if not words:
        outcome.failed += catalogue.broken
    _tell(outcome, target)
    return int(ExitCode.USAGE if outcome.failed else ExitCode.OK)


def _tell(outcome: migration.Outcome, target: Path) -> None:
    for home, names in outcome.written.items():
        variants = f"  (variants: {', '.join(names[1:])})" if names[1:] else ""
        sys.stdout.write(f"models/{home}/model.yaml{variants}\n")
    for name, notes in outcome.notes.items():
        sys.stderr.write("".join(f"madrun: note: {name}: {note}\n" for note in notes))
    for error in outcome.failed:
        sys.stderr.write(f"madrun: error: {error}\n")
    count = sum(len(names) for names in outcome.written.values())
    where = f" in {many(len(outcome.written), 'file')} below {target}" if count else ""
    failed = f", {many(len(outcome.failed), 'error')}" if outcome.failed else ""
    sys.stderr.write(f"madrun: {many(count, 'card')} migrated{where}{failed}\n")
