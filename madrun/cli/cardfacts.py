"""What is read from a card's files before a plan can be made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from madrun.cli.around import scene_of
from madrun.cli.datafacts import data_of
from madrun.planning.job import CardFacts, image_source
from madrun.registry import cardtree
from madrun.registry.mad.scripts import require_script
from madrun.registry.mad.tools import Stack
from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.facts import HostFacts

_NOTHING = Stack()


def card_facts(
    card: Card,
    context: Context,
    facts: HostFacts,
    runtime: str,
    stack: Stack = _NOTHING,
    data_config: str | None = None,
) -> tuple[CardFacts, dict[str, Path], dict[str, Path]]:
    """Facts of the card's files, its work files, and the files that its image is built from.

    `stack`: what is put around the script. `data_config`: the file of data sources, where it is not data.json.
    """
    repository = Path(card.repository)
    files = work_files(card)
    scene = scene_of(card, context, stack, files, runtime != "process")
    files = dict(sorted({**files, **scene.placed}.items()))
    data = data_of(card, context, data_config)
    found = CardFacts(
        script_hash=cardtree.tree_hash(files),
        files=tuple(files),
        data=data.sources,
        checkout=scene.checkout,
        around=scene.around,
        placed={name: str(path) for name, path in scene.placed.items()},
        cache=scene.cache,
        common=scene.common,
        notes=(*scene.notes, *data.notes),
    )
    if runtime == "process" or context.MAD_CONTAINER_IMAGE:
        return found, files, {}
    source = image_source(card, facts.accelerator.vendor)
    if source.dockerfile is None:
        return found, files, {}
    from madrun.registry.imagefiles import image_files_of

    folder = repository if card.mad else Path(card.folder)
    image_files = image_files_of((folder / source.dockerfile).resolve(), source.context, repository.resolve())
    found = replace(
        found,
        dockerfile=image_files.dockerfile,
        dockerfile_text=image_files.text,
        context=image_files.context,
        context_hash=image_files.sent.hash,
    )
    return found, files, image_files.sent.entries


def work_files(card: Card) -> dict[str, Path]:
    """The files that a script finds beside it, by their names in the work directory."""
    require_script(card)
    if card.mad is not None and card.folder == card.repository:
        from madrun.registry.mad.checkout import root_files

        return {f"{card.mad.directory}/{name}": path for name, path in root_files(card).items()}
    files = cardtree.work_files(Path(card.folder), card.files, Path(card.repository))
    if card.mad is None:
        return files
    # Not the file of results: an earlier run may have left one there, to which the script would add its rows.
    return {f"{card.mad.directory}/{name}": path for name, path in files.items() if name != card.multiple_results}
