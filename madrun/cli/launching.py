"""`--on BACKEND`: from the words of one command to a launch, its folder, and what its backend makes of it."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from madrun import __version__
from madrun.backends.carry.beside import lay_beside
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.table import BACKENDS, WHOLE, Backend, backend_of
from madrun.cli.launchcards import launched_cards, manifest_layer
from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.launchsecrets import masked
from madrun.cli.launchwords import layer_names, told_to_nodes, typed_again
from madrun.cli.layers import site_layer, user_layers
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, Show
from madrun.cli.repository import find_repository
from madrun.cli.request import Request, make_request
from madrun.errors import ContextError, UsageError
from madrun.planning import layers as merging
from madrun.planning.topology import check_ports
from madrun.probe.environment import user_folder
from madrun.results.mad import outputcsv
from madrun.spec.card import Card
from madrun.spec.codec import to_plain
from madrun.spec.context import Context, Layer
from madrun.spec.launch import CASE, COMMAND, ENCLOSED, FOLDERS, LAYERS, UP, BackendName, Launch
from madrun.spec.validation import did_you_mean

_FIRST_PORT, _PORTS = 20000, 5000  # below Linux's ephemeral ports; two each, so that MASTER_PORT + 1 is never another's


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """All that was typed for a run."""

    options: RunOptions
    launch: LaunchOptions
    repository: RepositoryOptions = RepositoryOptions()
    files: RunFiles = RunFiles()
    show: Show = Show()
    more: tuple[str, ...] = ()
    plan: str | None = None

    def request(self) -> Request:
        """As the parts of madrun that know no launch take it."""
        return make_request(self.options, self.plan, repository=self.repository, files=self.files)


# The groups of options of a run, and --plan, --repeat and --keep-alive.
Words = tuple[RunOptions, LaunchOptions, tuple[RepositoryOptions, RunFiles, Show], tuple[str | None, int, bool]]


def asked_of(
    options: RunOptions,
    launch: LaunchOptions,
    groups: tuple[RepositoryOptions, RunFiles, Show],
    more: tuple[str | None, int, bool],
) -> Asked:
    """One value of it all; `more` are --plan, --repeat and --keep-alive."""
    repository, files, show = groups
    plan, repeat, keep_alive = more
    if keep_alive:
        raise UsageError("--keep-alive: found beside --on; a container is kept by the madrun of its own terminal")
    words = ("--repeat", str(repeat)) if repeat > 1 else ()
    return Asked(options=options, launch=launch, repository=repository, files=files, show=show, plan=plan, more=words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A launch with its backend's settings; `private` holds the values that no file but one shows."""

    launch: Launch
    backend: Backend
    settings: Any
    private: dict[str, str] = field(repr=False)

    def rendered(self) -> dict[str, str]:
        """What the backend would submit, by file name."""
        return self.backend.render(self.launch, self.settings)

    def folder(self) -> LaunchFolder:
        """The launch written to its folder; madrun too, where the nodes get nothing but that folder.

        `UsageError` where that cannot be made.
        """
        try:
            folder = LaunchFolder.create(self.launch, self.rendered(), self.private)
        except OSError as error:
            path = Path(self.launch.folder)
            flag = "--results" if path.is_relative_to(self.launch.results) else "--to"
            raise UsageError(f"{flag}: {path} cannot be written: {error.strerror}; name another directory") from None
        contained = self.launch.backend in WHOLE or getattr(self.settings, "containers", "docker") != "docker"
        if contained and self.settings.madrun == "carry":
            lay_beside(folder.path, Path(self.launch.cache, "carry"))
        return folder


def make_launch(asked: Asked, to: Path | None = None) -> Made:
    """The launch that the words mean; `UsageError` and `ContextError` for what is wrong with them.

    `to`: the folder that it is written to; default: one of its own below the results.
    """
    name = backend_name(asked.launch)
    request = asked.request()
    repository = find_repository(request.repo)
    cards, planned = launched_cards(request, repository)
    context = head_context(asked, request, repository, cards[0])
    backend = backend_of(name)
    values, settings, nnodes = read_settings(asked.launch, context, planned)
    launch_id = _launch_id(cards)
    output = _output(asked, name)
    groups = (asked.repository, asked.files, asked.show)
    told = told_to_nodes(asked.options, groups, asked.more, (request, repository), ("output",) if output else ())
    command = masked(request.command, told.private, context)
    again = ("sh", f"{to}/{UP}") if name in WHOLE else typed_again(command)
    launch = Launch(
        id=launch_id,
        backend=name,
        folder=str(to or request.results / FOLDERS / launch_id),
        nnodes=nnodes,
        words=(*told.words, *(("--runtime", "process") if name in ENCLOSED else ()), *_slots(settings, context)),
        files=told.files,
        given=told.given,
        env={COMMAND: json.dumps(again), **_case(), **_layers(layer_names(request, repository))},
        secrets=tuple(sorted(told.private)),
        cards=tuple(card.name for card in cards),
        images={vendor: source.image or "" for vendor, source in cards[0].images.items()},
        repository=str(repository.absolute()),
        results=str(request.results),
        command=command,
        settings=_pinned(values, settings),
        output=output,
        built=_images(name, settings, (request, repository, cards)),
        **_of_context(context, launch_id),
        **_of_this_host(),
    )
    return Made(launch=launch, backend=backend, settings=settings, private=told.private)


def _images(name: BackendName, settings: Any, of: tuple[Request, Path, list[Card]]) -> tuple[str, ...]:
    """Images that this host may have and nodes by ssh lack; the other backends leave them to their nodes."""
    if name != "ssh" or settings.images == "registry":
        return ()
    from madrun.cli.headimages import images_of

    return images_of(*of)


def backend_name(options: LaunchOptions) -> BackendName:
    """That of `--on`; `UsageError` for none, an unknown one, and for flags that mean nothing there."""
    if options.on is None:
        raise UsageError(f"--on: is missing; allowed: {', '.join(BACKENDS)}")
    if options.on not in BACKENDS:
        hint = did_you_mean(options.on, BACKENDS)
        raise UsageError(f"--on: found {options.on!r}{hint}, allowed: {', '.join(BACKENDS)}")
    if misplaced := options.misplaced(options.on):
        raise UsageError(f"--on {options.on}: found {', '.join(misplaced)}, which mean nothing there; leave them out")
    return options.on


def head_context(asked: Asked, request: Request, repository: Path, card: Card) -> Context:
    """What the layers say of the launch itself; what depends on a node's facts is resolved there."""
    below = [*site_layer(request, repository), *manifest_layer(request)]
    return launch_context((below, user_layers(request)), asked.launch, card)


def launch_context(layers: tuple[list[Layer], list[Layer]], options: LaunchOptions, card: Card) -> Context:
    """The same of layers that are read: those below the card, and those above it; `ContextError` for a wrong one."""
    name, (below, above) = options.on or "", layers
    flags = [Layer(f"--{key.replace('_', '-')}", {name: {key: value}}) for key, value in options.values(name).items()]
    stack = [*below, merging.card_layer(card), *above, *flags]
    context, origins, _ = merging.resolve(stack, card.mad is not None)
    if rank := next((origin for origin in origins if origin.key == "multi_node_args.NODE_RANK"), None):
        raise ContextError(
            f"{rank.said[-1][0]}: multi_node_args.NODE_RANK: found {rank.said[-1][1]!r} beside --on {name}, which "
            "gives each node its rank; leave it out"
        )
    said = next((origin for origin in origins if origin.key == "multi_node_args.NNODES"), None)
    if said is None:
        return replace(context, multi_node_args=replace(context.multi_node_args, NNODES=0))
    return context


def read_settings(options: LaunchOptions, context: Context, planned: int | None = None) -> tuple[Any, Any, int]:
    """The backend's part of this context, its settings and the number of nodes; `ContextError` for what is wrong.

    `planned`: of how many nodes a plan is that is repeated.
    """
    name = backend_name(options)
    values = _settings(context, name)
    return values, *backend_of(name).read(values, _nnodes(options, context, planned), env=os.environ)


def _nnodes(options: LaunchOptions, context: Context, planned: int | None) -> int | None:
    """How many nodes were asked for; None where nothing was said. 0 stands in the context for that.

    `planned`: of how many the plan is that is repeated, which no flag changes.
    """
    if planned is not None:
        if options.nodes not in (None, planned):
            raise ContextError(f"--nodes: found {options.nodes}, but the plan is of {planned}; leave --nodes out")
        return planned
    said = context.multi_node_args.NNODES or None
    if options.nodes is not None and said is not None and said != options.nodes:
        raise ContextError(f"--nodes: found {options.nodes}, but multi_node_args.NNODES is {said}; leave one out")
    return options.nodes or said


def _settings(context: Context, name: BackendName) -> dict[str, Any]:
    """The backend's part of the context; a registry of the site goes with it."""
    values: dict[str, Any] = {}
    for key in BACKENDS[name][1]:
        values |= getattr(context, key)
    return cast(dict[str, Any], to_plain(values))


def _pinned(values: dict[str, Any], settings: Any) -> dict[str, Any]:
    """The values, with the hosts as they were read from a file of this host, which may change before it is over."""
    hosts = getattr(settings, "hosts", ())
    return {**values, "hosts": list(hosts)} if hosts else values


def _slots(settings: Any, context: Context) -> tuple[str, ...]:
    """Processes of a node where a file of hosts says them and nothing else does."""
    if context.multi_node_args.NPROC_PER_NODE or not (slots := getattr(settings, "nproc_per_node", 0)):
        return ()
    return ("--set", f"multi_node_args.NPROC_PER_NODE={slots}")


def _launch_id(cards: list[Card]) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    card = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in cards[0].name)
    return f"{stamp}-{card}-{secrets.token_hex(3)}"


def _of_context(context: Context, launch_id: str) -> dict[str, Any]:
    """What a launch takes as the context says it; ports that nobody said are two that other launches hardly have."""
    said = context.multi_node_args
    check_ports(replace(said, NNODES=2))
    port = said.MASTER_PORT or _FIRST_PORT + 2 * (int(launch_id.rpartition("-")[2], 16) % _PORTS)
    return {
        "master_addr": "" if said.MASTER_ADDR == "localhost" else said.MASTER_ADDR,
        "master_port": port,
        "control_port": said.CONTROL_PORT or port + 1,
        "modules": context.modules,
        "runtime": context.runtime,
    }


def _of_this_host() -> dict[str, Any]:
    return {"python": sys.executable, "version": __version__, "cache": str(user_folder("cache"))}


def _output(asked: Asked, name: BackendName) -> str:
    """The file to which this host itself adds rows: whoever starts nodes by ssh is there when they end."""
    if name != "ssh" or asked.files.output is None:
        return ""
    file = Path(asked.files.output).expanduser().absolute()
    outputcsv.check(file, "--output")
    return str(file)


def _layers(names: dict[str, str]) -> dict[str, str]:
    return {LAYERS: json.dumps(names)} if names else {}


def _case() -> dict[str, str]:
    """Of what suite this launch is a case: the nodes' records are to say so."""
    return {CASE: os.environ[CASE]} if os.environ.get(CASE) else {}
