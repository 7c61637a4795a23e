"""How many GPUs a card of a MAD repository gets on a node, by the order in which MAD asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from madrun.errors import CardError, ContextError
from madrun.planning.devices import Chosen, choose
from madrun.planning.mad.distributed import processes_of
from madrun.spec.card import Card
from madrun.spec.context import Context
from madrun.spec.facts import HostFacts
from madrun.spec.mad import ALL_GPUS

KEYS = ("gpus_per_node", "gpu_count", "n_gpus", "num_gpus", "ngpus")


def wanted_gpus(card: Card, context: Context) -> tuple[int | None, str]:
    """How many the run asks for, None for all, and which key says so. `ContextError` or `CardError` for no number."""
    assert card.mad is not None
    for key, value in _said(context):
        if value is not None and str(value).strip() != "":
            return _number(value, ContextError, key), key
    name = f"{card.source}: {card.name}: n_gpus"
    return (_number(card.mad.n_gpus, CardError, name), "n_gpus") if card.mad.n_gpus.strip() else (1, "n_gpus")


def _said(context: Context) -> Iterator[tuple[str, Any]]:
    for key in KEYS:
        yield key, getattr(context, key)
    yield "slurm.gpus_per_node", context.slurm.get("gpus_per_node")
    yield "k8s.gpu_count", context.k8s.get("gpu_count")
    yield "kubernetes.gpu_count", context.kubernetes.get("gpu_count")


def _number(value: Any, error: type[CardError] | type[ContextError], key: str) -> int | None:
    text = str(value).strip()
    if text == ALL_GPUS:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise error(f"{key}: found {value!r}, allowed: a whole number from 1, or -1 for all GPUs")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a card gets of this host. `processes`: None for one on each GPU; `why`: the key that said how many."""

    chosen: Chosen
    processes: int | None = None
    why: str = ""
    notes: tuple[str, ...] = ()


def share_of(card: Card, context: Context, facts: HostFacts) -> Share:
    """The GPUs of the run and its processes here.

    `ContextError`, or `CardError` where the card asks, for more than there is.

    The first of the GPUs that are left get the work, as MAD gives them.
    """
    if card.mad is None:
        return Share(chosen=choose(facts, context.docker_gpus), processes=card.gpus_per_node)
    count, key = wanted_gpus(card, context)
    chosen = _first(card, (count, key), context, _with_render_nodes(context, facts))
    here = chosen.facts.accelerator
    wanted, note = processes_of(context, here.count, chosen.facts)
    if wanted is not None:
        return Share(chosen=chosen, processes=wanted, why="distributed.nproc_per_node")
    notes = (note,) if note else ()
    if here.count:
        return Share(chosen=chosen, notes=notes)
    if count is not None and count > 1:
        notes = (*notes, f"{key} {count}: this host has no GPU; the run has {count} processes on the CPU")
    return Share(chosen=chosen, processes=count or 1, why=f"{key}, on the CPU", notes=notes)


def _by_card(key: str, context: Context) -> bool:
    """Whether it is the card that asks: then it is its fault alone."""
    return key == "n_gpus" and context.n_gpus is None and context.docker_gpus is None


def _first(card: Card, said: tuple[int | None, str], context: Context, facts: HostFacts) -> Chosen:
    count, key = said
    chosen = choose(facts, context.docker_gpus)
    here = chosen.facts.accelerator
    if not here.count or count is None or count == here.count:
        return chosen
    if count > here.count:
        had = f"docker_gpus lists {here.count}" if context.docker_gpus is not None else f"this host has {here.count}"
        text = f"{key}: found {count}, but {had}; allowed: 1 to {here.count}, or -1 for all"
        raise CardError(f"{card.source}: {card.name}: {text}") if _by_card(key, context) else ContextError(text)
    if any(gpu.partitions for gpu in here.gpus):
        return chosen
    words = ",".join(str(gpu.index) for gpu in here.gpus[:count])
    note = f"GPUs {words} of the {facts.accelerator.count} of this host ({key} {count})"
    return replace(choose(facts, words), note=note)


def _with_render_nodes(context: Context, facts: HostFacts) -> HostFacts:
    """The host with the device files that `gpu_renderDs` names, GPU by GPU."""
    numbers, every = context.gpu_renderDs, facts.accelerator
    if numbers is None or every.vendor != "amd":
        return facts
    if len(numbers) != every.count:
        raise ContextError(
            f"gpu_renderDs: found {len(numbers)} numbers, but this host has {every.count} GPUs; allowed: one for each"
        )
    gpus = tuple(
        replace(gpu, device=f"/dev/dri/renderD{number}") for gpu, number in zip(every.gpus, numbers, strict=True)
    )
    return replace(facts, accelerator=replace(every, gpus=gpus))
