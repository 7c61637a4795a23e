"""`--on BACKEND`: from the words of one command to a launch, its folder, and what its backend makes of it."""

from __future__ import annotations

import os
import secrets
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from madrun import __version__
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.table import BACKENDS, Backend, backend_of
from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.layers import site_layer, user_layers
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, Show
from madrun.cli.repository import chosen_of, find_repository, read_catalogue
from madrun.cli.request import Request, make_request
from madrun.cli.words import words_of
from madrun.errors import ContextError, UsageError
from madrun.planning import layers as merging
from madrun.probe.environment import NODES_SECRET, forwarded_secrets, nodes_secret
from madrun.spec.card import Card
from madrun.spec.codec import to_plain
from madrun.spec.context import Context, Layer, is_secret
from madrun.spec.launch import COMMAND, ENCLOSED, FOLDERS, BackendName, Launch
from madrun.spec.validation import did_you_mean

# They name something of this host, or are said in another way on the nodes.
_NOT_CARRIED = ("repo", "results", "site", "additional_context_file", "env")
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
        """The launch written to its folder."""
        return LaunchFolder.create(self.launch, self.rendered(), self.private)


def make_launch(asked: Asked, to: Path | None = None) -> Made:
    """The launch that the words mean; `UsageError` and `ContextError` for what is wrong with them.

    `to`: the folder that it is written to; default: one of its own below the results.
    """
    name = _backend_name(asked.launch)
    request = asked.request()
    repository = find_repository(request.repo)
    cards = chosen_of(request, read_catalogue(repository))
    context = head_context(asked, request, repository, cards[0])
    backend = backend_of(name)
    values = _settings(context, name)
    settings, nnodes = backend.read(values, _nnodes(asked.launch, context))
    launch_id = _launch_id(cards)
    port = context.multi_node_args.MASTER_PORT or _port_of(launch_id)
    site, files = _files(asked, request, repository)
    private = _private(request)
    launch = Launch(
        id=launch_id,
        backend=name,
        folder=str(to or request.results / FOLDERS / launch_id),
        nnodes=nnodes,
        words=tuple([*_words(asked, request, private), *(["--runtime", "process"] if name in ENCLOSED else [])]),
        files=files,
        given=site,
        env={COMMAND: _as_json(request.command)},
        secrets=tuple(sorted(private)),
        cards=tuple(card.name for card in cards),
        images={vendor: source.image or "" for vendor, source in cards[0].images.items()},
        master_addr=_said_master(context),
        master_port=port,
        control_port=context.multi_node_args.CONTROL_PORT or port + 1,
        modules=context.modules,
        repository=str(repository.absolute()),
        results=str(request.results),
        command=request.command,
        python=sys.executable,
        version=__version__,
        settings=values,
    )
    return Made(launch=launch, backend=backend, settings=settings, private=private)


def _backend_name(options: LaunchOptions) -> BackendName:
    if options.on not in BACKENDS:
        hint = did_you_mean(options.on or "", BACKENDS)
        raise UsageError(f"--on: found {options.on!r}{hint}, allowed: {', '.join(BACKENDS)}")
    if misplaced := options.misplaced(options.on):
        raise UsageError(f"--on {options.on}: found {', '.join(misplaced)}, which mean nothing there; leave them out")
    return options.on


def head_context(asked: Asked, request: Request, repository: Path, card: Card) -> Context:
    """What the layers say of the launch itself; what depends on a node's facts is resolved there."""
    name = asked.launch.on or ""
    flags = [
        Layer(f"--{key.replace('_', '-')}", {name: {key: value}}) for key, value in asked.launch.values(name).items()
    ]
    stack = [*site_layer(request, repository), merging.card_layer(card), *user_layers(request), *flags]
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


def _nnodes(options: LaunchOptions, context: Context) -> int | None:
    """How many nodes were asked for; None where nothing was said. 0 stands in the context for that."""
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


def _said_master(context: Context) -> str:
    address = context.multi_node_args.MASTER_ADDR
    return "" if address == "localhost" else address


def _launch_id(cards: list[Card]) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    card = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in cards[0].name)
    return f"{stamp}-{card}-{secrets.token_hex(3)}"


def _port_of(launch_id: str) -> int:
    return _FIRST_PORT + 2 * (int(launch_id.rpartition("-")[2], 16) % _PORTS)


def _files(asked: Asked, request: Request, repository: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Flags and the names of the files that they mean on the nodes, and these files' texts."""
    places = {"--additional-context-file": request.additional_context_file, "--plan": asked.plan}
    if layers := site_layer(request, repository):
        places["--site"] = layers[0].name.removeprefix("--site ").removeprefix("site file ")
    given: dict[str, str] = {}
    files: dict[str, str] = {}
    for flag, place in places.items():
        if place is not None:
            path = Path(place).expanduser()
            given[flag] = f"{flag.removeprefix('--')}{path.suffix}"
            files[given[flag]] = path.read_text(encoding="utf-8")
    return given, files


def _words(asked: Asked, request: Request, private: dict[str, str]) -> list[str]:
    """The words of `madrun run` on every node."""
    words = words_of(asked.options, _NOT_CARRIED)
    for word in request.env:
        name, given, _ = word.partition("=")
        if given and is_secret(name):
            private[name] = word.partition("=")[2]
        elif not given:
            private[name] = os.environ[name]
        words += ["--env", word if given and not is_secret(name) else name]
    words += [*words_of(asked.repository), *words_of(asked.files), *words_of(asked.show), *asked.more]
    return words


def _private(request: Request) -> dict[str, str]:
    """What nodes get and nobody else sees: the secret they share, and what this host forwards."""
    shared = nodes_secret().decode(errors="surrogateescape") or secrets.token_hex(32)
    return {NODES_SECRET: shared, **forwarded_secrets()}


def _as_json(words: tuple[str, ...]) -> str:
    import json

    return json.dumps(list(words))
