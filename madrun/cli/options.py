"""The options of the commands, each written once; a command takes a whole group of them as one value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Annotated, Any, cast, get_type_hints

import typer

from madrun.cli import completion

Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tags",
        "-t",
        metavar="TAG...",
        help="Cards by name, tag, folder/name or 'all'; card:key=value adds arguments.",
        autocompletion=completion.tags,
    ),
]
Repo = Annotated[
    str | None,
    typer.Option(
        "--repo",
        metavar="DIR",
        help="Model repository. Default: MODEL_DIR, else this directory, else the cards installed with madrun.",
    ),
]
Inline = Annotated[
    str | None,
    typer.Option("--additional-context", "-c", metavar="TEXT", help="Context as JSON or a Python literal."),
]
ContextFile = Annotated[
    str | None,
    typer.Option("--additional-context-file", "-f", metavar="FILE", help="Context as JSON, YAML or a Python literal."),
]
Site = Annotated[
    str | None,
    typer.Option(
        "--site",
        metavar="FILE",
        help="Site file. Default: madrun-site.yaml in the repository, else ~/.config/madrun/site.yaml.",
    ),
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        "-e",
        metavar="NAME[=VALUE]",
        help="A variable for the script; NAME alone takes this host's value. Repeatable.",
    ),
]
MountWords = Annotated[
    list[str] | None,
    typer.Option("--mount", metavar="HOST:CONTAINER[:ro]", help="A path of this host in the container. Repeatable."),
]
Arg = Annotated[
    list[str] | None,
    typer.Option("--arg", "-a", metavar="TEXT", help="Added after the script's arguments. Repeatable."),
]
SetKey = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A key of the context, as slurm.comment=night. Repeatable."),
]
Mirror = Annotated[
    str | None,
    typer.Option(
        "--force-mirror-local",
        metavar="DIR",
        help="Mount DIR/<data name>; filled from the data source when it is not there.",
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        metavar="TIME",
        help="Time limit of the script: 90s, 2h; 0 for none. Default: the card's, else 2h.",
    ),
]
JoinTimeout = Annotated[
    str | None,
    typer.Option("--join-timeout", metavar="TIME", help="How long nodes wait for each other. Default: 10m, doctor 60s"),
]
StallTimeout = Annotated[
    str | None,
    typer.Option(
        "--stall-timeout",
        metavar="TIME",
        help="End a run that prints and does nothing for this long, with evidence. Default: never.",
    ),
]
LocalData = Annotated[
    bool | None,
    typer.Option("--local-data", help="Each node has its own copy of the data: contents are compared, not the place."),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="NAME",
        help="auto, docker, podman or process. Default: the engine that answers, else process.",
        autocompletion=completion.runtimes,
    ),
]
Results = Annotated[str, typer.Option("--results", metavar="DIR", help="Where runs and perf.csv go.")]
RunWord = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, the beginning of one, its directory, or last.",
        autocompletion=completion.run_ids,
    ),
]
RunningWord = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]",
        help="A run of this host: its id, or the beginning of it.",
        autocompletion=completion.running_ids,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SavedPlan = Annotated[
    str | None,
    typer.Option(
        "--plan",
        metavar="FILE|RUN",
        help="Repeat a run exactly: its plan.json, its directory, or its id below --results.",
        autocompletion=completion.run_ids,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What selects cards and configures their runs: the options that `run`, `plan` and `explain` have in common."""

    tags: Tags = None
    repo: Repo = None
    additional_context: Inline = None
    additional_context_file: ContextFile = None
    site: Site = None
    env: Env = None
    mount: MountWords = None
    arg: Arg = None
    set_key: SetKey = None
    force_mirror_local: Mirror = None
    timeout: Timeout = None
    join_timeout: JoinTimeout = None
    stall_timeout: StallTimeout = None
    local_data: LocalData = None
    runtime: Runtime = None
    results: Results = "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """Which rows a report shows."""

    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Only this card.")] = None
    tag: Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only cards with this tag.")] = None
    status: Annotated[str | None, typer.Option("--status", metavar="STATUS", help="SUCCESS, FAILURE or SKIPPED.")] = (
        None
    )
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Not older than 2h, 7d, or a date such as 2026-11-21.")
    ] = None
    results: Results = "results"

    def filters(self) -> dict[str, str | None]:
        """By name, None where nothing was asked for."""
        return {name: getattr(self, name) for name in ("model", "tag", "status", "since")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """How much a run says."""

    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print verdicts alone.")] = False
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print the engine, each command to the letter, and timings too.")
    ] = False
    timings: Annotated[bool, typer.Option("--timings", help="Print where the time went.")] = False
    as_json: AsJson = False


def takes(**groups: type[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The command function's parameters of these names become options of the command: one for each field."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        own = [p for name, p in inspect.signature(function).parameters.items() if name not in groups]
        hints = get_type_hints(function, include_extras=True)
        parameters: dict[str, inspect.Parameter] = {}
        for group in groups.values():
            parameters |= _parameters(cast(Hashable, group))
        parameters |= {p.name: p.replace(kind=p.KEYWORD_ONLY, annotation=hints[p.name]) for p in own}

        def command(**given: Any) -> Any:
            made = {
                name: group(**{option.name: given.pop(option.name) for option in fields(group)})
                for name, group in groups.items()
            }
            return function(**made, **given)

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
        command.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
        return command

    return decorate


@cache
def _parameters(group: Any) -> dict[str, inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return {
        option.name: inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if option.default is MISSING else option.default,
            annotation=hints[option.name],
        )
        for option in fields(group)
    }
