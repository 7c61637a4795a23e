"""The context of one card: its layers put into words that every card shares, and merged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from madrun.errors import CardError, ContextError
from madrun.planning import layers as merging
from madrun.planning import topology as topo
from madrun.planning.mad.distributed import MAD_RUNNER, args_of, launcher_of
from madrun.planning.mad.layering import HOST_LAYER, Layering
from madrun.probe.environment import launched_by
from madrun.probe.madhost import not_passed, said_by_host
from madrun.spec.card import Card
from madrun.spec.context import Context, Layer, Origin, mount_source
from madrun.spec.facts import HostFacts


def context_of(
    card: Card | None, below: list[Layer], above: list[Layer], facts: HostFacts
) -> tuple[Context, list[Origin], list[str]]:
    """What all layers say together, where each value came from, and what of it is worth a line.

    Where it is the card that asks for what cannot be had, the error is a `CardError`: other cards may do without.
    """
    mad = card is not None and card.mad is not None
    layering = Layering()
    for layer in (*_host(mad), *below):
        _add(layering, layer, mad)
    if card is not None:
        with _blamed(card):
            _add(layering, merging.card_layer(card), mad)
    for layer in above:
        _add(layering, layer, mad)
    stack, notes = layering.layers, layering.notes
    merged, origins, _ = merging.merge(stack)
    if card is not None:
        own = card.mad is not None and launcher_of(card.mad.distributed) == launcher_of(merged.get("distributed", {}))
        with _blamed(card) if own else nullcontext():
            found, more = args_of(merged, card, bool(facts.scheduler))
        notes += more
        stack = [Layer("distributed", {"multi_node_args": found}), *stack] if found else stack
    said = merged.get("multi_node_args", {})
    if isinstance(said, dict) and facts.scheduler:
        values = topo.with_scheduler(said, facts.scheduler)
        scheduler = {name: values[name] for name in facts.scheduler}
        stack = [Layer(_scheduler_name(), {"multi_node_args": scheduler}), *stack]
    context, origins, warnings = merging.resolve(stack, mad)
    notes += _host_notes(origins) if mad else []
    return context, origins, [*warnings, *notes]


def _scheduler_name() -> str:
    backend = launched_by()
    return f"launched by {backend}" if backend else "scheduler's environment"


def _host(mad: bool) -> list[Layer]:
    values = said_by_host() if mad else {}
    return [Layer(HOST_LAYER, values)] if values else []


def _host_notes(origins: list[Origin]) -> list[str]:
    """What of this host's shell a script may have been meant to read and does not; and a runner that was brought."""
    said = {origin.key.removeprefix("docker_env_vars."): origin.said for origin in origins}
    left = [name for name in not_passed() if name not in said]
    names = ", ".join(left[:8]) + (f" and {len(left) - 8} more" if len(left) > 8 else "")
    notes = [f"variables of this host are not passed on: {names}; --env NAME passes one"] if left else []
    if MAD_RUNNER in said:
        notes.append(f"{MAD_RUNNER} is the one of {said[MAD_RUNNER][-1][0]}, as it stands there")
    return notes


def _add(layering: Layering, layer: Layer, mad: bool) -> None:
    """Adds the layer; `ContextError` also for a path that its options mount and this host lacks."""
    before = len(layering.sources)
    layering.add(layer, mad, os.environ)
    for source in layering.sources[before:]:
        if not Path(source).exists():
            raise ContextError(
                f"additional_docker_run_options: {source} does not exist on this host; the engine would make an empty "
                "directory of this name"
            )


@contextmanager
def _blamed(card: Card) -> Iterator[None]:
    try:
        yield
    except ContextError as error:
        raise CardError(f"{card.source}: {error}") from None


def check_mounts(context: Context) -> None:
    """`ContextError` for a source of docker_mounts that this host does not have."""
    for target, said in context.docker_mounts.items():
        source = mount_source(said)[0]
        if not Path(source).exists():
            turned = " (the other way round? the key is the path in the container)" if Path(target).exists() else ""
            raise ContextError(
                f"docker_mounts: {source}, to be mounted at {target}, does not exist on this host{turned}; "
                "it is not created silently"
            )
