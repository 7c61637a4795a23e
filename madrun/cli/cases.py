"""What one selected card is run as: once for each of its Dockerfiles that fits this run."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from madrun.planning.job import choose_runtime
from madrun.registry.mad.dockerfiles import matching
from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.facts import HostFacts
from madrun.spec.mad import MadContext


def cases_of(card: Card, context: Context, facts: HostFacts) -> list[Card]:
    """The card itself, or, of a MAD repository, one for each Dockerfile; `CardError` where none fits."""
    if card.mad is None or context.MAD_CONTAINER_IMAGE or choose_runtime(context, facts)[0] == "process":
        return [card]
    vendor = facts.accelerator.vendor
    sources = matching(card, known_of(context, vendor))
    return [replace(card, images={vendor: source}) for source in sources]


def known_of(context: Context, vendor: str) -> dict[str, Any]:
    """What the header of a Dockerfile is held against: what was said, else what was found."""
    said = {field.name: getattr(context, field.name) for field in fields(MadContext)}
    return {"gpu_vendor": vendor.upper()} | {name: value for name, value in said.items() if isinstance(value, str)}
