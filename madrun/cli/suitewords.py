"""From what was typed, and a suite file or sweeps, to a suite: the words of every case, all of them checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from madrun import __version__
from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.layers import set_values, site_layer, user_layers
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, Show
from madrun.cli.repository import find_repository, read_catalogue
from madrun.cli.request import Request, make_request
from madrun.cli.words import words_of
from madrun.errors import ContextError, MadrunError, UsageError
from madrun.planning.layers import card_layer, parse_text, resolve
from madrun.registry.catalogue import Catalogue
from madrun.registry.selection import choose_cards
from madrun.registry.tags import split_tags
from madrun.spec.card import Card
from madrun.spec.context import Layer, is_secret
from madrun.suites.expand import ENV_MAPS, Content, contents_of, swept, unique
from madrun.suites.file import Source, read_suite
from madrun.suites.folder import FOLDERS, SuiteFolder, new_folder
from madrun.suites.suite import Case, Suite
from madrun.suites.sweep import FLAG, check_axes, key_problem, read_axis

Where = Callable[[Content], str]  # how an error about a case begins
# Said anew for each case: by its words, or by its place.
_PLACE = ("on", "hosts", "nodes", "exclude", "detach")


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The options of a suite or a sweep: those of its cases, and by what these are started."""

    options: RunOptions
    launch: LaunchOptions
    repository: RepositoryOptions = RepositoryOptions()
    files: RunFiles = RunFiles()
    show: Show = Show()

    @property
    def backend(self) -> str:
        """Empty where every case is run on this node alone."""
        return self.launch.on or ""

    @property
    def results(self) -> Path:
        """Where runs and suites go."""
        return Path(self.options.results).absolute()


def suite_of_file(typed: Typed, file: str) -> Suite:
    """The suite that a file describes. Every case of it has been checked as far as this host can."""
    source = read_suite(Path(file).expanduser())
    _refuse_secrets(typed.options)
    repository = find_repository(typed.options.repo)
    catalogue = read_catalogue(repository)
    lenient = any(card.mad is not None for card in catalogue.cards)
    contents = contents_of(source, tuple(typed.options.set_key or ()), lenient)
    bare = replace(typed, options=replace(typed.options, set_key=None))
    made = _suite(
        bare,
        contents,
        (repository, catalogue),
        (_name(source), str(source.path.absolute())),
        lambda one: source.where(*one.at),
    )
    return replace(made, retry_bad_node=source.file.retry_bad_node)


def suite_of_sweep(typed: Typed, words: Iterable[str], repeat: int) -> Suite:
    """The suite that `madrun run --sweep` means: one case at each point of the cross product."""
    axes = tuple(map(read_axis, words))
    check_axes(axes, FLAG)
    _refuse_secrets(typed.options)
    repository = find_repository(typed.options.repo)
    catalogue = read_catalogue(repository)
    lenient = any(card.mad is not None for card in catalogue.cards)
    for axis in axes:
        if not lenient and (problem := key_problem(axis.key)):
            raise ContextError(f"{FLAG} {axis.name}: {problem}")
    tags = tuple(split_tags(typed.options.tags or []))
    name = ",".join(tags)
    base = Content(name=name, tags=tags, repeat=repeat, sets=tuple(typed.options.set_key or ()))
    bare = replace(typed, options=replace(typed.options, set_key=None))
    return _suite(
        bare, unique(swept(base, axes, named=True)), (repository, catalogue), (name or "sweep", ""), lambda _: FLAG
    )


def _name(source: Source) -> str:
    return source.file.name or source.path.stem


def _suite(
    typed: Typed,
    contents: tuple[Content, ...],
    found: tuple[Path, Catalogue],
    named: tuple[str, str],
    where: Where,
) -> Suite:
    name, file = named
    options = typed.options
    contents = tuple(
        replace(one, tags=one.tags or tuple(options.tags or ()), nnodes=one.nnodes or typed.launch.nodes)
        for one in contents
    )
    request = make_request(
        replace(options, tags=_first_tags(contents, where)), repository=typed.repository, files=typed.files
    )
    _check(contents, request, found, where)
    cases = tuple(Case(name=one.name, words=tuple(_words(typed, one)), nnodes=one.nnodes) for one in contents)
    folder = new_folder(typed.results, name)
    made = Suite(
        id=folder.path.name,
        name=name,
        cases=cases,
        hashes=tuple(case.hash for case in cases),
        cwd=str(Path.cwd()),
        results=str(typed.results),
        command=request.command,
        madrun=__version__,
        source=file,
    )
    return placed(made, typed)


def placed(suite: Suite, typed: Typed) -> Suite:
    """The suite with its cases started as these options say; `ContextError` where the largest gets too few nodes."""
    from madrun.backends.table import RUNS
    from madrun.spec.validation import did_you_mean

    launch = typed.launch
    if misplaced := launch.misplaced(launch.on):
        raise UsageError(f"found {', '.join(misplaced)} {_without(launch.on)}")
    if launch.on is not None and launch.on not in RUNS:
        raise UsageError(f"--on: found {launch.on!r}{did_you_mean(launch.on, RUNS)}, allowed: {', '.join(RUNS)}")
    if launch.detach and launch.on != "slurm":
        raise UsageError("--detach: found beside a suite; its cases are started one after the other from here")
    given = {one.name: getattr(launch, one.name) for one in fields(launch) if one.name not in _PLACE}
    said = {name: value for name, value in given.items() if value not in (None, [])}
    hosts = _hosts(suite, typed) if launch.on == "ssh" else ()
    for case in suite.cases:
        if hosts and (case.nnodes or 1) > len(hosts):
            raise ContextError(f"{case.name}: found {case.nnodes} nodes, allowed: up to the {len(hosts)} hosts given")
    return replace(suite, backend=typed.backend, launch=said, hosts=hosts, exclude=launch.exclude or "")


def _without(on: str | None) -> str:
    return f"beside --on {on}, which mean nothing there; leave them out" if on else "without --on"


def _hosts(suite: Suite, typed: Typed) -> tuple[str, ...]:
    """All hosts, each as a line of a host file, wherever they are said."""
    from madrun.backends.ssh.hosts import parse_hosts
    from madrun.backends.ssh.settings import read_text
    from madrun.cli.launching import Asked, head_context

    options = replace(typed.options, tags=list(typed.options.tags or ["all"]))
    request = make_request(options, repository=typed.repository, files=typed.files)
    repository = find_repository(options.repo)
    card = read_catalogue(repository).cards[0]
    asked = Asked(options=options, launch=replace(typed.launch, nodes=None), repository=typed.repository)
    said: Any = head_context(asked, request, repository, card).ssh.get("hosts", "")
    if not said:
        raise ContextError("--on ssh: found no hosts; allowed: --hosts a,b or node[01-16] or a file, or ssh.hosts")
    return tuple(map(str, parse_hosts(said, read_text)))


def _first_tags(contents: tuple[Content, ...], where: Where) -> list[str]:
    empty = next((one for one in contents if not one.tags), None)
    if empty is not None:
        raise UsageError(f"{where(empty)}: found no tags; allowed: names or tags of cards, here or by --tags for all")
    return list(contents[0].tags)


def _words(typed: Typed, content: Content) -> list[str]:
    """The words of `madrun run` for a case, without those that say on which nodes."""
    options = typed.options
    own = replace(
        options,
        tags=list(content.tags),
        set_key=list(content.sets) or None,
        arg=[*(options.arg or ()), *content.args] or None,
        env=[*(options.env or ()), *content.env] or None,
        timeout=content.timeout or options.timeout,
    )
    repeat = ["--repeat", str(content.repeat)] if content.repeat > 1 else []
    left_out = ("results",) if options.results == RunOptions().results else ()
    return [*words_of(own, left_out), *words_of(typed.repository), *words_of(typed.files), *repeat]


def _check(contents: tuple[Content, ...], request: Request, found: tuple[Path, Catalogue], where: Where) -> None:
    """Every case's cards and context, before the first one begins; the error of the first that is wrong."""
    repository, catalogue = found
    layers = [*site_layer(request, repository)], user_layers(request)
    cards: dict[tuple[str, ...], list[Card]] = {}
    for content in contents:
        try:
            if content.tags not in cards:
                cards[content.tags] = choose_cards(catalogue, split_tags(content.tags))
            _check_context(content, cards[content.tags], layers)
        except MadrunError as error:
            raise type(error)(f"{where(content)}: {content.name}: {error}") from None


def _check_context(content: Content, cards: list[Card], layers: tuple[list[Layer], list[Layer]]) -> None:
    below, above = layers
    own = [Layer("--set", set_values(word, "--set")) for word in content.sets]
    for layer in own:
        _refuse_secret(name for name in _variables(layer.values) if is_secret(name))
    if content.timeout is not None:
        own.append(Layer("--timeout", {"timeout": content.timeout}))
    if content.args:
        own.append(Layer("--arg", {"more_args": list(content.args)}))
    for name in (name for name, given, _ in (text.partition("=") for text in content.env) if not given):
        if name not in os.environ:
            raise ContextError(f"env: {name} is not set on this host; set it, or leave it out")
    for card in cards:
        resolve([*below, card_layer(card), *above, *own], card.mad is not None)


def _refuse_secrets(options: RunOptions) -> None:
    """A suite is written down to be resumed: a secret's value must not be among its words."""
    said = [word.partition("=")[0] for word in options.env or () if "=" in word]
    inline = parse_text(options.additional_context, "--additional-context") if options.additional_context else {}
    _refuse_secret(name for name in (*said, *_variables(inline)) if is_secret(name))


def _variables(values: Mapping[str, Any]) -> list[str]:
    """Names of the variables that a context gives a value."""
    maps = [values[key] for key in ENV_MAPS if isinstance(values.get(key), dict)]
    return [str(name) for one in maps for name, value in one.items() if value]


def _refuse_secret(names: Iterable[str]) -> None:
    for name in names:
        raise UsageError(
            f"found a value of {name}, and a suite is written down whole, to be resumed; allowed: --env {name}, which "
            "takes the value that the environment has"
        )


def folder_of(suite: Suite) -> SuiteFolder:
    """Where the suite lies, or is to lie."""
    return SuiteFolder(Path(suite.results) / FOLDERS / suite.id)
