"""From a request to plans: the only place where registry, probe, data and planning meet."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from madrun import __version__
from madrun.cli.around import Said, with_tools
from madrun.cli.cardfacts import card_facts
from madrun.cli.cases import cases_of, is_of_header
from madrun.cli.contexts import check_mounts, context_of
from madrun.cli.imagepolicy import policy_of
from madrun.cli.layers import site_layer, user_layers
from madrun.cli.leftout import LeftOut, failed, from_broken, not_reached, why_skipped
from madrun.cli.place import Tell, find_topology, meeting_of, nobody, place_notes, place_whys
from madrun.cli.repository import chosen_of, find_repository, read_catalogue
from madrun.cli.request import Request
from madrun.cli.runnerfile import runner_file
from madrun.cli.secretvalues import secrets_of
from madrun.data.config import check_named
from madrun.data.sources import check_mirror
from madrun.errors import CardError, ContextError, DataError, EngineError, MadrunError
from madrun.planning import topology as topo
from madrun.planning.devices import partition_note
from madrun.planning.explain import Explained, explain
from madrun.planning.image import secrets_in_history
from madrun.planning.job import choose_runtime, plan_job
from madrun.planning.mad.counts import share_of
from madrun.planning.mad.options import written
from madrun.planning.mad.unheard import unheard
from madrun.planning.node import plan_node, runner_whys
from madrun.probe import environment, git, host, mounts, network
from madrun.registry.mad.tools import Stack
from madrun.runners import RUNNERS
from madrun.runtimes.images.policy import Policy
from madrun.spec.card import Card
from madrun.spec.context import Context, Layer, mount_source
from madrun.spec.facts import GitState, HostFacts
from madrun.spec.plan import Plan, make_plan

if TYPE_CHECKING:
    from madrun.cli.manifest import GivenManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One card with its plan and what the plan was made from.

    `repeats` is the run whose plan this is, `changes` what is not as it was then, `image_then` what its image was known
    by, `clone_then` the commit of what it cloned; empty for a new plan.
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
    clone_then: str = ""


@dataclass(slots=True, kw_only=True)
class Prepared:
    """Everything that `run` needs; port claims last as long as this value.

    `stop` is what ends the command once the cards that are left out, which are then all, have their records.
    """

    repository: Path
    facts: HostFacts
    engine: Any
    planned: list[Planned]
    git_state: Future[GitState]
    claims: list[network.PortClaim] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    stop: MadrunError | None = None
    data_config: str | None = None
    layers: tuple[Layer, ...] = ()
    images: Policy = field(default_factory=Policy)


def prepare(request: Request, tell: Tell = nobody, leave_out: bool = False) -> Prepared:
    """Plans for every selected card, in order. Raises the error of the first thing that is wrong.

    `tell` hears of what is wrong with this host alone, of which the other nodes cannot know. `leave_out`: cards that
    are to be skipped get no plan, and one that is wrong does not stop the others.
    """
    if request.saved is not None:
        from madrun.cli.repeating import prepare_saved

        return prepare_saved(request, request.saved)
    repository = find_repository(request.repo)
    git_state = look_at_git(repository)
    given = _given(request.repository.manifest_file)
    below = [*site_layer(request, repository), *([given.layer()] if given else [])]
    above = user_layers(request)
    try:
        check_named(request.repository.data_config)
        catalogue = read_catalogue(repository)
        cards = given.cards(catalogue, request.tags) if given else chosen_of(request, catalogue)
    except MadrunError as error:
        _part(tell, (None, below, above), ", ".join(tag.partition(":")[0] for tag in request.tags), error)
        raise
    names = ", ".join(dict.fromkeys(card.name for card in cards))
    try:
        facts, client = look(wanted_runtime([*below, *above]), request.results)
    except EngineError as error:
        _part(tell, (cards[0], below, above), names, error)
        raise
    prepared = Prepared(repository=repository, facts=facts, engine=client, planned=[], git_state=git_state)
    prepared.data_config = request.repository.data_config
    prepared.layers = (*below, *above)
    prepared.images = policy_of(request, repository, prepared.layers)
    if leave_out:
        prepared.left_out += from_broken(catalogue.broken, request.tags, repository)
    tolerant = leave_out and (cards[0].mad is not None or len(cards) + len(prepared.left_out) > 1)
    for card in cards:
        try:
            said = context_of(card, below, above, prepared.facts)
        except CardError as error:
            if not tolerant:
                raise
            prepared.left_out.append(failed(card.name, error, card))
            continue
        if prepared.stop is not None:
            prepared.left_out.append(not_reached(card, said[0], str(prepared.stop)))
            continue
        _plan_or_tell(card, said, request, prepared, _Way(tell, names, leave_out, tolerant))
    return prepared


@dataclass(frozen=True, slots=True)
class _Way:
    """What becomes of a card that is wrong: who hears of it, and whether the others go on without it."""

    tell: Tell
    names: str
    leave_out: bool
    tolerant: bool


def _plan_or_tell(card: Card, said: Said, request: Request, prepared: Prepared, way: _Way) -> None:
    meeting = meeting_of(said[0].multi_node_args, prepared.facts, way.names)
    try:
        _plan_cases(card, said, request, prepared, way.leave_out)
    except ContextError as error:
        way.tell(meeting, str(error))
        raise
    except (DataError, CardError) as error:
        # With several nodes, what one host lacks ends the command on all of them: their lists of cards are one.
        of_this_host = isinstance(error, DataError) and (not way.tolerant or meeting.nnodes > 1)
        if of_this_host:
            way.tell(meeting, str(error))
        if not way.tolerant:
            raise
        if of_this_host:
            prepared.stop = error
        prepared.left_out.append(failed(card.name, error, card, said[0]))


def _plan_cases(card: Card, said: Said, request: Request, prepared: Prepared, leave_out: bool) -> None:
    """Adds a plan for each case of the card, or the card to those that are left out."""
    context = said[0]
    topo.check_ranks(context.multi_node_args, tuple(RUNNERS))
    skipped = why_skipped(card, request, prepared.facts.accelerator)
    if skipped and leave_out:
        prepared.left_out.append(LeftOut(name=card.name, reason=skipped, card=card, context=context))
        return
    said, stack = with_tools(card, said, request.repository.tools_config)
    for case in cases_of(card, said[0], prepared.facts, prepared.layers):
        prepared.planned.append(plan_case(case, said, prepared, stack))


def _given(file: str | None) -> GivenManifest | None:
    if file is None:
        return None
    from madrun.cli.manifest import read_given

    return read_given(file)


def _part(tell: Tell, what: tuple[Card | None, list[Layer], list[Layer]], names: str, error: MadrunError) -> None:
    """The other nodes hear of it as far as the context says where they are; this node raises the error itself."""
    bare = host.facts(None)
    with suppress(MadrunError):
        tell(meeting_of(context_of(*what, bare)[0].multi_node_args, bare, names), str(error))


def wanted_runtime(layers: list[Layer]) -> str:
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
    from madrun.probe import engine as engine_probe

    wanted: engine_probe.Wanted = "docker" if runtime == "docker" else "podman" if runtime == "podman" else "auto"
    try:
        client, engine = engine_probe.connect(wanted)
    except EngineError as error:
        if wanted != "auto":
            raise
        return host.facts(None, str(error).partition(";")[0]), None
    return host.facts(engine), client


def plan_case(card: Card, said: Said, prepared: Prepared, stack: Stack, open_ports: bool = True) -> Planned:
    """The plan of one case of a card. `open_ports`: an error where a port of node 0 cannot be listened on."""
    context, origins, warnings = said
    context = replace(context, force_mirror_local=check_mirror(context.force_mirror_local))
    check_mounts(context)
    share = share_of(card, context, prepared.facts)
    chosen, card = share.chosen, replace(card, gpus_per_node=share.processes)
    facts = chosen.facts
    runtime, why = choose_runtime(context, facts)
    found, files, image_context = card_facts(card, context, facts, runtime, stack, prepared.data_config)
    options = written(card, prepared.layers, context.docker_cpus)
    found = replace(found, options=options, runner_file=runner_file(card, context.multi_node_args))
    topology = find_topology(card, context, facts, prepared.claims, open_ports)
    variables, arguments = secrets_of(card, context, facts, stack)
    job = plan_job(card, context, facts, topology, found, frozenset(variables))
    node = plan_node(card, job, context, chosen, topology, found)
    plan = make_plan(__version__, job, node)
    cred = f"{job.cred}_" if job.cred else "\0"
    whys = {name: f"{job.cred} of credential.json" for name in variables if name.startswith(cred)}
    whys |= place_whys(context, topology) | runner_whys(job, topology)
    whys |= {"runtime": why, "docker_gpus": chosen.note, "multi_node_args.NPROC_PER_NODE": share.why}
    return Planned(
        card=card,
        plan=plan,
        context=context,
        files=files,
        image_context=image_context,
        secrets=arguments | variables,
        notes=(
            *(warning for warning in warnings if not is_of_header(card, warning)),
            *card.warnings,
            *secrets_in_history(card, job.image, found.dockerfile_text),
            *filter(None, (why, chosen.note)),
            *share.notes,
            *unheard(card, context, runtime, facts.accelerator.vendor, bool(environment.launched_by())),
            *_host_notes(facts, runtime),
            *place_notes(context, topology, facts),
        ),
        filesystems=filesystems([*node.data_sources.values(), *map(_host_path, context.docker_mounts.values())]),
        explained=explain(context, origins, plan, card, whys),
    )


def _host_notes(facts: HostFacts, runtime: str) -> list[str]:
    """What of this host is unclear, or does not reach the script."""
    dropped = environment.dropped() if runtime == "process" else []
    return [*facts.accelerator.notes, *filter(None, [partition_note(facts.accelerator)]), *dropped]


def _host_path(source: str) -> str:
    return mount_source(source)[0]


def filesystems(paths: list[str]) -> dict[str, str]:
    """The file system of every path that is mounted from this host."""
    return {path: mounts.filesystem_of(path) for path in paths if path}
