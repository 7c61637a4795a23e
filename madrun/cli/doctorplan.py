"""From the words of `madrun doctor` to what is visited: planned as `run` would, except that what is wrong is a finding.

Only what makes no command at all ends it: a tag that nobody has, a context that cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from madrun.cli.around import Said, with_tools
from madrun.cli.cases import cases_of
from madrun.cli.contexts import context_of
from madrun.cli.imagepolicy import policy_of
from madrun.cli.layers import site_layer, user_layers
from madrun.cli.place import meeting_of, resolve_master
from madrun.cli.prepare import Planned, Prepared, look, look_at_git, plan_case
from madrun.cli.repository import find_repository, read_catalogue
from madrun.cli.request import Request
from madrun.cli.task import make_task
from madrun.doctor.asked import Asked
from madrun.doctor.flow import Patient
from madrun.errors import CardError, ContextError, DataError, EngineError, MadrunError, UsageError
from madrun.node.channel.protocol import VISIT
from madrun.node.task import Task
from madrun.planning import topology as topo
from madrun.probe import host, network
from madrun.registry.catalogue import holds_cards, shipped_places
from madrun.registry.selection import choose_cards
from madrun.runners import RUNNERS
from madrun.spec.card import Card
from madrun.spec.context import Layer, MultiNodeArgs
from madrun.spec.facts import HostFacts
from madrun.spec.finding import Finding
from madrun.spec.topology import Meeting, Topology

DEFAULT_CARD = "sanity"
_NAMES: tuple[tuple[type[MadrunError], str], ...] = (
    (DataError, "data"),
    (CardError, "card"),
    (EngineError, "engine"),
    (ContextError, "plan"),
)


@dataclass(slots=True)
class _Making:
    """A patient in the making; `said` is the context as the card and the user have it."""

    request: Request
    prepared: Prepared
    said: Said
    card: Card | None
    findings: list[Finding] = field(default_factory=list)

    @property
    def args(self) -> MultiNodeArgs:
        return self.said[0].multi_node_args

    @property
    def facts(self) -> HostFacts:
        return self.prepared.facts

    def found(self, name: str, text: str) -> None:
        """Something that would stop a run, once."""
        if not any(text in one.text for one in self.findings):
            advice = "the sentence says what is allowed; `madrun plan` with the same words shows the same"
            self.findings.append(Finding(name=name, state="FAIL", text=text, advice=advice))


def make_patient(request: Request, results: Path) -> Patient:
    """What this node is for a visit whose programs leave their files in `results`.

    Raises `UsageError` for a card that nobody has or more than one, `ContextError` for a context that cannot be read.
    """
    making = _begin(request)
    from madrun.doctor.host import look as look_at_host
    from madrun.doctor.host import of_topology

    topology = _topology(making)
    ported = of_topology(topology, making.facts) if topology is not None else []
    making.findings += ported
    whole = _planned(making, making.said)
    bare = whole
    if making.card is not None and (whole is None or whole.plan.job.data):
        making.card = replace(making.card, data=())  # the doctor's own programs need none, and fetch none
        bare = _planned(making, making.said)
    alone = _planned(making, _alone(making.said))
    making.findings += [*_notes("context", making.said[2]), *_notes("plan note", _noted(whole or bare))]
    asked = _asked(making, whole or bare or alone, topology)
    findings = (*look_at_host(making.facts, asked), *making.findings)
    return Patient(
        card=making.card.name if making.card else ", ".join(request.tags),
        facts=making.facts,
        meeting=_meeting(making, topology),
        plan=whole.plan if whole else None,
        alone=_task(making, alone, results / "alone"),
        together=_task(making, bare, results / "together"),
        ranks=topology.nproc_per_node if topology is not None else 1,
        findings=findings,
    )


def _begin(request: Request) -> _Making:
    repository, card, wrong = _card(request)
    below, above = site_layer(request, repository), user_layers(request)
    runtime = [layer.values["runtime"] for layer in (*below, *above) if "runtime" in layer.values]
    facts, client = _look(str(runtime[-1]) if runtime else "auto", request.results)
    prepared = Prepared(
        repository=repository, facts=facts, engine=client, planned=[], git_state=look_at_git(repository)
    )
    prepared.layers = (*below, *above)
    prepared.images = policy_of(request, repository, prepared.layers)
    said, blamed = _context(card, below, above, facts)
    making = _Making(request, prepared, said, card if not blamed else None)
    for text in filter(None, (wrong, blamed)):
        making.found("card", text)
    if facts.engine is None and said[0].runtime == "auto":
        text = f"runtime process, on the host itself: {facts.engine_absent}"
        advice = "mend the engine, or ask for --runtime process where that is meant"
        making.findings.append(Finding(name="runtime", state="WARN", text=text, advice=advice))
    topo.check_ranks(making.args, tuple(RUNNERS))
    return making


def _card(request: Request) -> tuple[Path, Card | None, str]:
    """The repository, the one card that is meant, and what is wrong with its file."""
    repository = find_repository(request.repo)
    catalogue = read_catalogue(repository)
    names = [card.name for card in catalogue.cards]
    if request.tags == (DEFAULT_CARD,) and DEFAULT_CARD not in names:
        repository = next((place for place in shipped_places() if holds_cards(place)), repository)
        catalogue = read_catalogue(repository)
    try:
        cards = choose_cards(catalogue, request.tags)
    except CardError as error:
        return repository, None, str(error)
    if len(cards) > 1:
        shown = ", ".join(card.name for card in cards[:6])
        raise UsageError(f"--tags: found {len(cards)} cards ({shown}); allowed: one, whose image and environment count")
    return repository, cards[0], ""


def _context(card: Card | None, below: list[Layer], above: list[Layer], facts: HostFacts) -> tuple[Said, str]:
    """The context; where the card's own part of it is wrong, the one without the card, and the error."""
    try:
        return context_of(card, below, above, facts), ""
    except CardError as error:
        return context_of(None, below, above, facts), str(error)


def _look(runtime: str, results: Path) -> tuple[HostFacts, object]:
    """Facts and a client; where the engine that was asked for does not answer, facts that say so."""
    try:
        return look(runtime, results)
    except EngineError as error:
        return host.facts(None, str(error).partition(";")[0]), None


def _topology(making: _Making) -> Topology | None:
    """As far as it can be found out; ports are not claimed and not refused here."""
    args, facts = making.args, making.facts
    try:
        master = resolve_master(args, facts)
    except ContextError as error:
        making.found("MASTER_ADDR", str(error))
        return None
    try:
        local = network.local_address_towards(master)
        processes = making.card.gpus_per_node if making.card is not None else None
        port = 0 if args.NNODES == 1 else topo.DEFAULT_PORT
        return topo.resolve_topology(args, facts, processes, master, local, port)
    except ContextError as error:
        making.found("plan", str(error))
        return None


def _planned(making: _Making, said: Said) -> Planned | None:
    """The plan of the card's first case, or None with the finding that says why there is none."""
    card, prepared = making.card, making.prepared
    if card is None:
        return None
    try:
        said, stack = with_tools(card, said, making.request.repository.tools_config)
        case = cases_of(card, said[0], prepared.facts, prepared.layers)[0]
        return plan_case(case, said, prepared, stack, open_ports=False)
    except MadrunError as error:
        name = next((name for kind, name in _NAMES if isinstance(error, kind)), "plan")
        making.found(name, str(error))
        return None


def _alone(said: Said) -> Said:
    """The same on this node by itself, with one process."""
    context, origins, warnings = said
    return replace(context, multi_node_args=MultiNodeArgs(RUNNER="plain")), origins, warnings


def _notes(name: str, notes: Sequence[str]) -> list[Finding]:
    """What `run` would say in a line before it begins."""
    advice = "no reason not to run: `madrun run` says this line and goes on; mend it where it is not meant"
    return [Finding(name=name, state="WARN", text=text, advice=advice) for text in dict.fromkeys(notes)]


def _noted(planned: Planned | None) -> tuple[str, ...]:
    return planned.plan.node.notes if planned is not None else ()


def _asked(making: _Making, planned: Planned | None, topology: Topology | None) -> Asked:
    """What the run would ask of this host."""
    context = making.said[0]
    wanted = context.runtime != "process" and (context.runtime != "auto" or making.facts.engine is not None)
    container = planned.plan.node.container if planned is not None else None
    return Asked(
        nnodes=making.args.NNODES,
        nproc_per_node=topology.nproc_per_node if topology is not None else 1,
        in_container=container is not None if planned is not None else wanted,
        gpus=planned.plan.node.gpus if planned is not None else (),
        shm_size=container.shm_size if container is not None and container.ipc != "host" else None,
        is_planned=planned is not None,
        transport=making.args.TRANSPORT,
        gloo_ifname=topology.gloo_ifname if topology is not None else "",
        results=str(making.request.results),
    )


def _meeting(making: _Making, topology: Topology | None) -> Meeting:
    card = making.card.name if making.card else ", ".join(making.request.tags)
    meeting = meeting_of(making.args, making.facts, f"{VISIT}{card}")
    if topology is not None:
        return replace(meeting, address=topology.master_addr)
    try:
        return replace(meeting, address=network.resolve(making.args.MASTER_ADDR))
    except ContextError:
        return meeting


def _task(making: _Making, planned: Planned | None, results: Path) -> Task | None:
    if planned is None or (planned.plan.job.in_container and making.prepared.engine is None):
        return None  # the finding of the engine says why
    task = make_task(making.request, making.prepared, planned, (0, "", False))
    return replace(task, results=results)
