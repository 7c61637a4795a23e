"""Images of the launching host that the runs of a launch will use, so that they can go to nodes that lack them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from madrun.cli.around import with_tools
from madrun.cli.cases import cases_of
from madrun.cli.contexts import context_of
from madrun.cli.imagepolicy import policy_of
from madrun.cli.layers import site_layer, user_layers
from madrun.cli.prepare import Prepared, look, look_at_git, plan_case
from madrun.cli.request import Request
from madrun.errors import MadrunError
from madrun.spec.card import Card

# Planned as for this host alone: which image a card wants does not depend on the number of nodes.
_ALONE = {"NNODES": 1, "NODE_RANK": 0, "MASTER_ADDR": "localhost"}


def images_of(request: Request, repository: Path, cards: Sequence[Card]) -> tuple[str, ...]:
    """Names of the images that these cards use: ready ones, and on a host like this one those that are built.

    What cannot be planned here is left out: the nodes, whose accelerator may be another, build or pull it as always.
    """
    ready = [source.image for card in cards for source in card.images.values() if source.image]
    built = [card for card in cards if card.mad is not None or any(one.dockerfile for one in card.images.values())]
    if not any(map(shutil.which, ("docker", "podman"))):
        return ()
    return tuple(dict.fromkeys((*ready, *(_planned(request, repository, built) if built else ()))))


def _planned(request: Request, repository: Path, cards: Sequence[Card]) -> list[str]:
    alone = replace(request, flags={**request.flags, "multi_node_args": _ALONE})
    below, above = site_layer(alone, repository), user_layers(alone)
    try:
        facts, client = look("auto", request.results)
    except MadrunError:
        return []
    prepared = Prepared(
        repository=repository, facts=facts, engine=client, planned=[], git_state=look_at_git(repository)
    )
    prepared.layers = (*below, *above)
    prepared.images = policy_of(alone, repository, prepared.layers)
    names: list[str] = []
    try:
        for card in cards:
            with suppress(MadrunError, OSError):
                said, stack = with_tools(card, context_of(card, below, above, facts), request.repository.tools_config)
                for case in cases_of(card, said[0], facts, prepared.layers):
                    names.append(plan_case(case, said, prepared, stack, open_ports=False).plan.job.image.name)
    finally:
        for claim in prepared.claims:
            claim.release()
        if client is not None:
            client.close()
    return [name for name in names if name]
