"""What is read from a card's files before a plan can be made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from madrun.data.sources import find_sources
from madrun.planning.job import CardFacts, image_source
from madrun.registry import cardtree
from madrun.registry.buildcontext import build_context
from madrun.registry.mad.checkout import entries
from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.facts import HostFacts
from madrun.spec.mad import RUN_DIRECTORY


def card_facts(
    card: Card, context: Context, facts: HostFacts, runtime: str
) -> tuple[CardFacts, dict[str, Path], dict[str, Path]]:
    """Facts of the card's files, its work files, and the files that its image is built from."""
    repository = Path(card.repository)
    files = work_files(card)
    by_others = context.multi_node_args.NNODES > 1 and not context.local_data
    sources = find_sources(card.data, repository, context.force_mirror_local, by_others)
    found = CardFacts(
        script_hash=cardtree.tree_hash(files),
        files=tuple(files),
        data_paths={source.name: source.path for source in sources},
        data_providers={source.name: source.provider for source in sources},
        checkout=entries(repository) if card.mad else (),
    )
    if runtime == "process" or context.MAD_CONTAINER_IMAGE:
        return found, files, {}
    source = image_source(card, facts.accelerator.vendor)
    if source.dockerfile is None:
        return found, files, {}
    folder = repository if card.mad else Path(card.folder)
    path = (folder / source.dockerfile).resolve()
    sent = path.parent if source.context is None else (repository / source.context).resolve()
    context_files = build_context(path, sent)
    root = repository.resolve()
    found = replace(
        found,
        dockerfile=str(path.relative_to(root)),
        dockerfile_text=cardtree.read_text(path),
        context=str(sent.relative_to(root)),
        context_hash=context_files.hash,
    )
    return found, files, context_files.entries


def work_files(card: Card) -> dict[str, Path]:
    """The files that a script finds beside it, by their names in the work directory."""
    files = cardtree.work_files(Path(card.folder), card.files, Path(card.repository))
    if card.mad is None:
        return files
    return {f"{RUN_DIRECTORY}/{name}": path for name, path in files.items()}
