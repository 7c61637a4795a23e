"""The commands and their options; each command's work is imported when it is called."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer

from madrun.cli.argv import spread_tags
from madrun.errors import ExitCode, MadrunError, UsageError

app = typer.Typer(
    name="madrun",
    help="Runs ML benchmarks in containers on one or many nodes: how fast, and may I believe it?",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
report_app = typer.Typer(
    name="report",
    help="Print the results of all runs as a table.",
    invoke_without_command=True,
    rich_markup_mode=None,
)
app.add_typer(report_app)

Tags = Annotated[
    list[str] | None,
    typer.Option(
        "--tags",
        "-t",
        metavar="TAG...",
        help="Cards by name, tag, folder/name or 'all'; card:key=value adds arguments.",
    ),
]
Repo = Annotated[
    str | None,
    typer.Option(
        "--repo",
        metavar="DIR",
        help="Model repository. Default: this directory, else the cards installed with madrun.",
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
    typer.Option("--join-timeout", metavar="TIME", help="How long nodes wait for each other. Default: 10m."),
]
Runtime = Annotated[
    str | None,
    typer.Option("--runtime", metavar="NAME", help="auto, docker or process. Default: docker where an engine answers."),
]
Results = Annotated[str, typer.Option("--results", metavar="DIR", help="Where runs and perf.csv go.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        from madrun import __version__

        typer.echo(f"madrun {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options of madrun itself."""


@app.command("run", help="Run the selected cards and record the results.")
def _run(
    tags: Tags = None,
    repo: Repo = None,
    additional_context: Inline = None,
    additional_context_file: ContextFile = None,
    site: Site = None,
    force_mirror_local: Mirror = None,
    timeout: Timeout = None,
    join_timeout: JoinTimeout = None,
    runtime: Runtime = None,
    results: Results = "results",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")] = False,
    timings: Annotated[bool, typer.Option("--timings", help="Print where the time went.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print the plan as JSON.")] = False,
) -> None:
    from madrun.cli.request import make_request

    flags = {"force_mirror_local": force_mirror_local, "timeout": timeout, "runtime": runtime}
    flags["join_timeout"] = join_timeout
    request = make_request(tags, repo, results, (additional_context, additional_context_file, site), flags)
    if dry_run:
        from madrun.cli.plan import print_plans

        print_plans(request, as_json)
        return
    from madrun.cli.run import run_cards

    raise typer.Exit(run_cards(request, timings))


@app.command("plan", help="Print what `run` would execute, to the letter.")
def _plan(
    tags: Tags = None,
    repo: Repo = None,
    additional_context: Inline = None,
    additional_context_file: ContextFile = None,
    site: Site = None,
    force_mirror_local: Mirror = None,
    timeout: Timeout = None,
    join_timeout: JoinTimeout = None,
    runtime: Runtime = None,
    results: Results = "results",
    as_json: AsJson = False,
) -> None:
    from madrun.cli.plan import print_plans
    from madrun.cli.request import make_request

    flags = {"force_mirror_local": force_mirror_local, "timeout": timeout, "runtime": runtime}
    flags["join_timeout"] = join_timeout
    request = make_request(tags, repo, results, (additional_context, additional_context_file, site), flags)
    print_plans(request, as_json)


@app.command("list", help="List the cards of the repository.")
def _list(tags: Tags = None, repo: Repo = None, as_json: AsJson = False) -> None:
    from madrun.cli.listing import print_cards

    raise typer.Exit(print_cards(tags, repo, as_json))


Card = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Only this card.")]
Tag = Annotated[str | None, typer.Option("--tag", metavar="TAG", help="Only cards with this tag.")]
Status = Annotated[str | None, typer.Option("--status", metavar="STATUS", help="SUCCESS, FAILURE or SKIPPED.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Not older than 2h, 7d, or a date such as 2026-11-21."),
]


@report_app.callback()
def _report(
    context: typer.Context,
    model: Card = None,
    tag: Tag = None,
    status: Status = None,
    since: Since = None,
    results: Results = "results",
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="A row for each metric, not each run.")] = False,
    as_json: AsJson = False,
) -> None:
    if context.invoked_subcommand is None:
        from madrun.cli.reporting import print_table

        filters = {"model": model, "tag": tag, "status": status, "since": since}
        raise typer.Exit(print_table(results, filters, as_json, all_metrics))


@report_app.command("csv", help="Write the rows as CSV.")
def _report_csv(
    context: typer.Context,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - for standard output.")
    ] = "-",
    model: Card = None,
    tag: Tag = None,
    status: Status = None,
    since: Since = None,
    results: Results = "results",
) -> None:
    from madrun.cli.reporting import write_csv

    filters = {"model": model, "tag": tag, "status": status, "since": since, "results": results}
    before = _given(context.parent)
    if before.get("as_json"):
        raise UsageError("report: found --json before csv; allowed: one of the two forms")
    # What stands before `csv` counts as well; what stands after it counts more.
    chosen = {name: {**filters, **before, **_given(context)}[name] for name in filters}
    raise typer.Exit(write_csv(chosen.pop("results"), chosen, output))


def _given(context: Any) -> dict[str, Any]:
    """The options that were typed at this command, by parameter."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name: context.params[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def run(words: list[str]) -> int:
    """Carries out one command line and returns its exit code; the one place where any error ends."""
    try:
        result = app(args=spread_tags(words), standalone_mode=True, prog_name="madrun")
    except MadrunError as error:
        sys.stderr.write(f"madrun: error: {error}\n")
        return int(error.exit_code)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        return int(ExitCode.OK)
    except Exception:
        traceback.print_exc()
        sys.stderr.write("madrun: internal error: this is a defect of madrun; the lines above say where\n")
        return int(ExitCode.INTERNAL)
    return int(result or 0)
