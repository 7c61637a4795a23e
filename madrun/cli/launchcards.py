"""Of which cards the runs of a launch are, as the launching host knows it before any node has planned."""

from __future__ import annotations

from pathlib import Path

from madrun.cli.repository import chosen_of, read_catalogue
from madrun.cli.request import Request
from madrun.cli.saved import find_plan, read_map
from madrun.errors import UsageError
from madrun.spec.card import Card
from madrun.spec.context import Layer


def launched_cards(request: Request, repository: Path) -> tuple[list[Card], int | None]:
    """The cards, one at least, and of how many nodes a saved plan is; None where none is repeated."""
    catalogue = read_catalogue(repository)
    if request.saved is not None:
        from madrun.cli.launchplan import check_plan

        file = find_plan(request.saved, request.results)
        job = read_map(file).get("job")
        name, nnodes = (job.get("card"), job.get("nnodes")) if isinstance(job, dict) else (None, None)
        found = [card for card in catalogue.cards if card.name == name]
        if not found:
            raise UsageError(f"--plan: {file} is of card {name!r}, which {repository} lacks; type it in its repository")
        check_plan(file, repository.absolute())
        return found, nnodes if isinstance(nnodes, int) else None
    if request.repository.manifest_file is not None:
        from madrun.cli.manifest import read_given

        cards = read_given(request.repository.manifest_file).cards(catalogue, request.tags)
    else:
        cards = chosen_of(request, catalogue)
    if not cards:
        raise UsageError("--tags: nothing is selected; allowed: names or tags of cards (madrun list shows them)")
    return cards, None


def manifest_layer(request: Request) -> list[Layer]:
    """What a build manifest says of the runs, and of where they are deployed; empty without one."""
    if request.repository.manifest_file is None:
        return []
    from madrun.cli.manifest import read_given

    return [read_given(request.repository.manifest_file).layer()]
