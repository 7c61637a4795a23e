"""From a request to plans: the only place where registry, probe, data and planning meet."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from madrun import __version__
from madrun.cli.cardfacts import card_facts
from madrun.cli.cases import cases_of
from madrun.cli.layers import site_layer, user_layers
from madrun.cli.place import Tell, find_topology, meeting_of, nobody, port_notes
from madrun.cli.request import Request
from madrun.data.sources import check_mirror
from madrun.errors import ContextError, DataError, EngineError, MadrunError, UsageError
from madrun.planning import layers as merging
from madrun.planning import topology as topo
from madrun.planning.devices import choose, partition_note
from madrun.planning.explain import Explained, explain
from madrun.planning.job import choose_runtime, plan_job
from madrun.planning.node import plan_node
from madrun.probe import engine as engine_probe
from madrun.probe import environment, git, host, mounts, network
from madrun.registry.catalogue import Catalogue, load, locate
from madrun.registry.tags import select
from madrun.runners import RUNNERS
from madrun.spec.card import Card
from madrun.spec.context import Context, Layer, Origin, holding, is_secret, mount_source
from madrun.spec.facts import GitState, HostFacts
from madrun.spec.plan import Plan, make_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One card with its plan and what the plan was made from.

    `repeats` is the run whose plan this is, `changes` what is not as it was then, `image_then` what its image was known
    by; empty for a new plan.
    """

    card: Card
    plan: Plan
    context: Context
    files: dict[str, Path]
    image_context: dict[str, Path]
    secrets: dict[str, str]
    notes: tuple[str, ...]
    filesystems: dict[str, str]
    explained: tuple[Explained, ...] = ()
    changes: tuple[str, ...] = ()
    repeats: str = ""
    image_then: str = ""


@dataclass(slots=True, kw_only=True)
class Prepared:
    """Everything that `run` needs; port claims last as long as this value."""

    repository: Path
    facts: HostFacts
    engine: Any
    planned: list[Planned]
    git_state: Future[GitState]
    claims: list[network.PortClaim] = field(default_factory=list)


def prepare(request: Request, tell: Tell = nobody) -> Prepared:
    """Plans for every selected card, in order. Raises the error of the first thing that is wrong.

    `tell` hears of what is wrong with this host alone, of which the other nodes cannot know.
    """
    if request.saved is not None:
        from madrun.cli.repeating import prepare_saved

        return prepare_saved(request, request.saved)
    repository = locate(request.repo, Path.cwd())
    git_state = look_at_git(repository)
    below = site_layer(request, repository)
    above = user_layers(request)
    try:
        cards = _select(load(repository), request.tags)
    except MadrunError as error:
        _part(tell, (None, below, above), ", ".join(tag.partition(":")[0] for tag in request.tags), error)
        raise
    names = ", ".join(dict.fromkeys(card.name for card in cards))
    try:
        facts, client = look(_wanted_runtime([*below, *above]), request.results)
    except EngineError as error:
        _part(tell, (cards[0], below, above), names, error)
        raise
    prepared = Prepared(repository=repository, facts=facts, engine=client, planned=[], git_state=git_state)
    for card in cards:
        context, origins, warnings = _context(card, below, above, prepared.facts)
        try:
            topo.check_ranks(context.multi_node_args, tuple(RUNNERS))
            for case in cases_of(card, context, facts):
                prepared.planned.append(_plan(case, (context, origins, warnings), prepared))
        except (ContextError, DataError) as error:
            tell(meeting_of(context.multi_node_args, facts, names), str(error))
            raise
    return prepared


def _part(tell: Tell, what: tuple[Card | None, list[Layer], list[Layer]], names: str, error: MadrunError) -> None:
    """The other nodes hear of it as far as the context says where they are; this node raises the error itself."""
    bare = host.facts(None)
    with suppress(MadrunError):
        tell(meeting_of(_context(*what, bare)[0].multi_node_args, bare, names), str(error))


def _select(catalogue: Catalogue, tags: tuple[str, ...]) -> list[Card]:
    """The selected cards; where a tag finds nothing and a card is broken, that is the likelier reason."""
    try:
        return select(catalogue.cards, tags)
    except UsageError:
        if catalogue.broken:
            raise catalogue.broken[0] from None
        raise


def _wanted_runtime(layers: list[Layer]) -> str:
    """The runtime asked for, before the card is known: decides whether the engine is looked for at all."""
    said = [layer.values["runtime"] for layer in layers if "runtime" in layer.values]
    return str(said[-1]) if said else "auto"


def look_at_git(repository: Path) -> Future[GitState]:
    """The repository's state, looked up while other things are done."""
    pool = ThreadPoolExecutor(max_workers=1)
    git_state = pool.submit(git.state, repository)
    pool.shutdown(wait=False)
    return git_state


def look(runtime: str, results: Path) -> tuple[HostFacts, Any]:
    """Facts of this host with the space left for results, and a client of its engine.

    Where docker or podman was asked for, its lack is an error.
    """
    facts, client = _host_and_engine(runtime)
    engine = facts.engine
    places = {f"results ({results})": str(results)}
    if engine is not None and engine.local:
        root = mounts.engine_root(engine.name, engine.rootless, str(Path.home()))
        places |= {f"{engine.name}'s files ({root})": root} if root else {}
    space = {name: mounts.free_space(place) for name, place in places.items()}
    return replace(facts, disks={name: found for name, found in space.items() if found is not None}), client


def _host_and_engine(runtime: str) -> tuple[HostFacts, Any]:
    if runtime == "process":
        return host.facts(None, "it was asked for"), None
    wanted: engine_probe.Wanted = "docker" if runtime == "docker" else "podman" if runtime == "podman" else "auto"
    try:
        client, engine = engine_probe.connect(wanted)
    except EngineError as error:
        if wanted != "auto":
            raise
        return host.facts(None, str(error).partition(";")[0]), None
    return host.facts(engine), client


def _plan(card: Card, said: tuple[Context, list[Origin], list[str]], prepared: Prepared) -> Planned:
    context, origins, warnings = said
    context = replace(context, force_mirror_local=check_mirror(context.force_mirror_local))
    _check_mount_sources(context)
    chosen = choose(prepared.facts, context.docker_gpus)
    facts = chosen.facts
    runtime, why = choose_runtime(context, facts)
    found, files, image_context = card_facts(card, context, facts, runtime)
    topology = find_topology(card, context, facts, prepared.claims)
    variables, arguments = _secrets(card, context, facts)
    job = plan_job(card, context, facts, topology, found, frozenset(variables))
    node = plan_node(card, job, context, chosen, topology, found)
    plan = make_plan(__version__, job, node)
    return Planned(
        card=card,
        plan=plan,
        context=context,
        files=files,
        image_context=image_context,
        secrets=arguments | variables,
        notes=(
            *warnings,
            *filter(None, (why, chosen.note)),
            *_host_notes(context, facts, runtime),
            *port_notes(topology, topology.nnodes),
        ),
        filesystems=filesystems([*node.data_sources.values(), *map(_host_path, context.docker_mounts.values())]),
        explained=explain(context, origins, plan, card, {"runtime": why, "docker_gpus": chosen.note}),
    )


def _host_notes(context: Context, facts: HostFacts, runtime: str) -> list[str]:
    """What of the context does not fit this host, or of this host does not reach the script."""
    dropped = environment.dropped() if runtime == "process" else []
    partitions = partition_note(facts.accelerator)
    unclear = [*facts.accelerator.notes, *([partitions] if partitions else [])]
    return [*unclear, *topo.interface_notes(context.multi_node_args, facts.interfaces), *dropped]


def _host_path(source: str) -> str:
    return mount_source(source)[0]


def filesystems(paths: list[str]) -> dict[str, str]:
    """The file system of every path that is mounted from this host."""
    return {path: mounts.filesystem_of(path) for path in paths if path}


def _context(
    card: Card | None, below: list[Layer], above: list[Layer], facts: HostFacts
) -> tuple[Context, list[Origin], list[str]]:
    stack = [*below, *([merging.card_layer(card)] if card else []), *above]
    merged, _, _ = merging.merge(stack)
    said = merged.get("multi_node_args", {})
    if isinstance(said, dict) and facts.scheduler:
        values = topo.with_scheduler(said, facts.scheduler)
        scheduler = {name: values[name] for name in facts.scheduler}
        stack = [Layer("scheduler's environment", {"multi_node_args": scheduler}), *stack]
    return merging.resolve(stack)


def _check_mount_sources(context: Context) -> None:
    for target, said in context.docker_mounts.items():
        source = _host_path(said)
        if not Path(source).exists():
            turned = " (the other way round? the key is the path in the container)" if Path(target).exists() else ""
            raise ContextError(
                f"docker_mounts: {source}, to be mounted at {target}, does not exist on this host{turned}; "
                "it is not created silently"
            )


def _secrets(card: Card, context: Context, facts: HostFacts) -> tuple[dict[str, str], dict[str, str]]:
    """What no file may show, by name: variables that reach the script, and arguments that reach the build alone.

    Variables are the secret names of the context, MAD_SECRETS* of this host, and what holds the value of one of them.
    """
    named = environment.forwarded_secrets() | _secret(context.docker_env_vars)
    variables = holding(context.docker_env_vars, named) | named
    source = card.images.get(facts.accelerator.vendor)
    every = {**(source.args if source else {}), **context.docker_build_arg}
    arguments = _secret(every)
    words = {"args": f"{card.args} {context.model_args or ''} {' '.join(context.more_args)}"}
    for name in holding({name: every[name] for name in every.keys() - arguments.keys()} | words, named | arguments):
        where = name if name in words else f"docker_build_arg.{name}"
        hint = "write $NAME, which the shell beside the script expands" if name in words else "give the secret itself"
        raise ContextError(f"{where}: found the value of a secret in it, which files would show; {hint}")
    for name, value in arguments.items():
        if variables.get(name, value) != value:
            raise ContextError(
                f"docker_build_arg.{name}: found another value than the variable {name} has; "
                "allowed: one value for one secret's name"
            )
    return variables, arguments


def _secret(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if is_secret(name)}
