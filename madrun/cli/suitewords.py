"""From what was typed, and a suite file or sweeps, to a suite: the words of every case, all of them checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from madrun import __version__
from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, Show
from madrun.cli.repository import find_repository, read_catalogue
from madrun.cli.request import make_request
from madrun.cli.suitecheck import Here, Where, checked, refuse_secrets
from madrun.cli.words import words_of
from madrun.errors import ContextError, MadrunError, UsageError
from madrun.registry.catalogue import Catalogue
from madrun.registry.tags import split_tags
from madrun.suites.expand import Content, contents_of, swept, unique
from madrun.suites.file import Source, read_suite
from madrun.suites.folder import FOLDERS, SuiteFolder, new_folder
from madrun.suites.suite import Case, Suite
from madrun.suites.sweep import FLAG, check_axes, key_problem, read_axis

# Said anew for each case: by its words, or by its place.
_PLACE = ("on", "hosts", "nodes", "exclude", "detach")
_ALL = ["all"]


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
    refuse_secrets(typed.options)
    repository = find_repository(typed.options.repo)
    catalogue = read_catalogue(repository)
    lenient = any(card.mad is not None for card in catalogue.cards)
    contents, wrong = contents_of(source, tuple(typed.options.set_key or ()), lenient)
    bare = replace(typed, options=replace(typed.options, set_key=None))
    made = _suite(
        bare,
        contents,
        (repository, catalogue),
        (_name(source), str(source.path.absolute())),
        lambda one: source.where(*one.at),
        wrong,
    )
    return replace(made, retry_bad_node=source.file.retry_bad_node)


def suite_of_sweep(typed: Typed, words: Iterable[str], repeat: int) -> Suite:
    """The suite that `madrun run --sweep` means: one case at each point of the cross product."""
    axes = tuple(map(read_axis, words))
    check_axes(axes, FLAG)
    refuse_secrets(typed.options)
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
    wrong: Sequence[MadrunError] = (),
) -> Suite:
    name, file = named
    options = typed.options
    contents = tuple(
        replace(one, tags=one.tags or tuple(options.tags or ()), nnodes=one.nnodes or typed.launch.nodes)
        for one in contents
    )
    tags = next((list(one.tags) for one in contents if one.tags), _ALL)
    request = make_request(replace(options, tags=tags), repository=typed.repository, files=typed.files)
    _check_launch(typed)
    contents = checked(contents, typed, Here(request, *found), where, wrong)
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
    launch, hosts = typed.launch, _check_launch(typed)
    given = {one.name: getattr(launch, one.name) for one in fields(launch) if one.name not in _PLACE}
    said = {name: value for name, value in given.items() if value not in (None, [])}
    for case in suite.cases:
        if hosts and (case.nnodes or 1) > len(hosts):
            raise ContextError(f"{case.name}: found {case.nnodes} nodes, allowed: up to the {len(hosts)} hosts given")
    return replace(suite, backend=typed.backend, launch=said, hosts=hosts, exclude=launch.exclude or "")


def _check_launch(typed: Typed) -> tuple[str, ...]:
    """All hosts where some are needed; raises what is wrong with the words that start every case."""
    from madrun.backends.table import RUNS
    from madrun.spec.validation import did_you_mean

    launch = typed.launch
    if misplaced := launch.misplaced(launch.on):
        raise UsageError(f"found {', '.join(misplaced)} {_without(launch.on)}")
    if launch.on is not None and launch.on not in RUNS:
        raise UsageError(f"--on: found {launch.on!r}{did_you_mean(launch.on, RUNS)}, allowed: {', '.join(RUNS)}")
    if launch.detach and launch.on != "slurm":
        raise UsageError("--detach: found beside a suite; its cases are started one after the other from here")
    return _hosts(typed) if launch.on == "ssh" else ()


def _without(on: str | None) -> str:
    return f"beside --on {on}, which mean nothing there; leave them out" if on else "without --on"


def _hosts(typed: Typed) -> tuple[str, ...]:
    """All hosts, each as a line of a host file, wherever they are said."""
    from madrun.backends.ssh.hosts import parse_hosts
    from madrun.backends.ssh.settings import read_text
    from madrun.cli.launching import Asked, head_context

    options = replace(typed.options, tags=list(typed.options.tags or _ALL))
    request = make_request(options, repository=typed.repository, files=typed.files)
    repository = find_repository(options.repo)
    card = read_catalogue(repository).cards[0]
    asked = Asked(options=options, launch=replace(typed.launch, nodes=None), repository=typed.repository)
    said: Any = head_context(asked, request, repository, card).ssh.get("hosts", "")
    if not said:
        raise ContextError("--on ssh: found no hosts; allowed: --hosts a,b or node[01-16] or a file, or ssh.hosts")
    return tuple(map(str, parse_hosts(said, read_text)))


def options_of(options: RunOptions, content: Content) -> RunOptions:
    """The options of a case's `madrun run`, where these are those of all cases."""
    return replace(
        options,
        tags=list(content.tags),
        set_key=list(content.sets) or None,
        arg=[*(options.arg or ()), *content.args] or None,
        env=[*(options.env or ()), *content.env] or None,
        timeout=content.timeout or options.timeout,
    )


def _words(typed: Typed, content: Content) -> list[str]:
    """The words of `madrun run` for a case, without those that say on which nodes."""
    options = typed.options
    own = options_of(options, content)
    repeat = ["--repeat", str(content.repeat)] if content.repeat > 1 else []
    left_out = ("results",) if options.results == RunOptions().results else ()
    return [*words_of(own, left_out), *words_of(typed.repository), *words_of(typed.files), *repeat]


def folder_of(suite: Suite) -> SuiteFolder:
    """Where the suite lies, or is to lie."""
    return SuiteFolder(Path(suite.results) / FOLDERS / suite.id)
