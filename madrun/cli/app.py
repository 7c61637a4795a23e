"""The commands; their options stand in options.py, and each command's work is imported when it is called."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Annotated

import typer

from madrun.cli import completion
from madrun.cli.argv import as_switches, spread_tags
from madrun.cli.launchapp import add_launch_commands
from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.madoptions import BuildFiles, RepositoryOptions, RunFiles
from madrun.cli.once import OnceTyper
from madrun.cli.options import AsJson, Repo, Results, RunningWord, RunOptions, RunWord, SavedPlan, Show, Tags, takes
from madrun.cli.reportapp import report_app
from madrun.cli.suiteoptions import Array, Sweep
from madrun.errors import ExitCode, MadrunError, UsageError

app = OnceTyper(
    name="madrun",
    help="Runs ML benchmarks in containers on one or many nodes: how fast, and may I believe it?",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(report_app)
add_launch_commands(app)


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
@takes(options=RunOptions, repository=RepositoryOptions, files=RunFiles, show=Show, launch=LaunchOptions)
def _run(
    options: RunOptions,
    repository: RepositoryOptions,
    files: RunFiles,
    show: Show,
    launch: LaunchOptions,
    plan: SavedPlan = None,
    repeat: Annotated[
        int, typer.Option("--repeat", metavar="N", min=1, help="Run each card N times; median and spread at the end.")
    ] = 1,
    keep_alive: Annotated[
        bool, typer.Option("--keep-alive", help="Keep the container after its script has ended, until Ctrl-C.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")] = False,
    sweep: Sweep = None,
    array: Array = False,
) -> None:
    from functools import partial

    from madrun.cli.request import make_request
    from madrun.node.lease import keep_lease

    if show.quiet and show.verbose:
        raise UsageError("found both --quiet and --verbose; allowed: one of them")
    if sweep or array:
        from madrun.cli.sweep import run_sweep

        groups, more = (repository, files, show), (plan, repeat, keep_alive)
        raise typer.Exit(run_sweep((options, launch, groups), more, sweep or [], (dry_run, array)))
    keep_lease(os.environ)
    if launch.on is not None or launch.misplaced(None):
        from madrun.cli.launch import launch_run

        words = (options, launch, (repository, files, show), (plan, repeat, keep_alive))
        raise typer.Exit(launch_run(words, dry_run))
    if dry_run:
        from madrun.cli.plan import print_plans

        request = make_request(options, plan, repository=repository, files=files)
        raise typer.Exit(print_plans(request, show.as_json))
    from madrun.cli.run import run_cards

    request_of = partial(make_request, options, plan, repository=repository, files=files)
    raise typer.Exit(run_cards(request_of, show, repeat, keep_alive))


@app.command("plan", help="Print what `run` would execute, to the letter.")
@takes(options=RunOptions, repository=RepositoryOptions)
def _plan(options: RunOptions, repository: RepositoryOptions, plan: SavedPlan = None, as_json: AsJson = False) -> None:
    from madrun.cli.plan import print_plans
    from madrun.cli.request import make_request

    raise typer.Exit(print_plans(make_request(options, plan, repository=repository), as_json))


@app.command("explain", help="Print where each value came from, what it overrode, and whether it reached a container.")
@takes(options=RunOptions)
def _explain(
    options: RunOptions,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys of the context, or variables of the script.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Explain a run that was: its directory, or its id below --results.",
            autocompletion=completion.run_ids,
        ),
    ] = None,
    node: Annotated[int, typer.Option("--node", metavar="RANK", min=0, help="With --run: the node.")] = 0,
    as_json: AsJson = False,
) -> None:
    from madrun.cli.explaining import explain_cards, explain_run

    if run is None:
        explain_cards(options, keys or [], as_json)
    else:
        explain_run(options, (run, node), keys or [], as_json)


@app.command("doctor", help="Look for what would stop a run or slow it, on this node or on all; measure nothing.")
@takes(options=RunOptions)
def _doctor(
    options: RunOptions,
    nodes: Annotated[
        str | None,
        typer.Option("--nodes", metavar="HOSTS", help="Look at these by ssh: a,b or n[01-16] or a file; node 0 first."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Count what is well, show what is not.")] = False,
    as_json: AsJson = False,
) -> None:
    if nodes is None:
        from madrun.cli.doctor import visit

        raise typer.Exit(visit(options, quiet, as_json))
    from madrun.cli.doctornodes import visit_nodes

    raise typer.Exit(visit_nodes(options, nodes, quiet, as_json))


@app.command("build", help="Build or pull the images of the selected cards; run nothing.")
@takes(options=RunOptions, repository=RepositoryOptions, files=BuildFiles)
def _build(options: RunOptions, repository: RepositoryOptions, files: BuildFiles, as_json: AsJson = False) -> None:
    from madrun.cli.build import build_images
    from madrun.cli.request import make_request

    raise typer.Exit(build_images(make_request(options, repository=repository, building=files), as_json))


@app.command("discover", help="The same as list, as existing tooling calls it.", hidden=True)
@app.command("list", help="List the cards of the repository.")
def _list(tags: Tags = None, repo: Repo = None, as_json: AsJson = False) -> None:
    from madrun.cli.listing import print_cards

    raise typer.Exit(print_cards(tags, repo, as_json))


@app.command("lint", help="Examine cards and their scripts for what fails silently or reports a wrong number.")
def _lint(
    tags: Tags = None,
    repo: Repo = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="RULE", help="A rule not to be reported. Repeatable."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A warning makes the exit code 2 as well.")] = False,
    as_json: AsJson = False,
) -> None:
    from madrun.cli.lint import lint

    raise typer.Exit(lint(tags, repo, ignore, strict, as_json))


@app.command("migrate", help="Write native cards for the cards of a MAD repository, into a new folder.")
def _migrate(
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="Where to: a new or an empty folder.")],
    tags: Tags = None,
    repo: Repo = None,
) -> None:
    from madrun.cli.migrate import migrate

    raise typer.Exit(migrate(tags, repo, to))


@app.command("ps", help="List what runs on this host: runs, their containers, and what dead ones left behind.")
def _ps(as_json: AsJson = False) -> None:
    from madrun.cli.ps import print_here

    raise typer.Exit(print_here(as_json))


@app.command("status", help="Print how far a run has come, or how it ended.")
def _status(run: RunWord, results: Results = "results", as_json: AsJson = False) -> None:
    from madrun.cli.status import print_status

    raise typer.Exit(print_status(run, results, as_json))


@app.command("logs", help="Print what a run printed; of a failed one the culprit's node.")
def _logs(
    run: RunWord,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    node: Annotated[
        int | None,
        typer.Option("--node", metavar="RANK", help="The console of this node. Default: the culprit's, or 0."),
    ] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", metavar="RANK", help="What this rank of the job alone printed.")
    ] = None,
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", metavar="N", min=0, help="Begin with the last N lines.")
    ] = None,
    results: Results = "results",
) -> None:
    from madrun.cli.logs import Which, print_log

    raise typer.Exit(print_log(run, results, Which(node=node, rank=rank, lines=lines, follow=follow)))


@app.command("stop", help="End a run on all its nodes, from any of them; also what a dead madrun has left of it here.")
def _stop(
    run: RunningWord = None,
    everything: Annotated[bool, typer.Option("--all", help="Every run of yours on this host.")] = False,
    grace: Annotated[
        str | None, typer.Option("--grace", metavar="TIME", help="Do not wait longer than this for scripts to end.")
    ] = None,
    results: Results = "results",
) -> None:
    from madrun.cli.stop import stop

    raise typer.Exit(stop(run, everything, grace, results))


@app.command("gc", help="Show what dead runs have left behind, and old images; with --yes remove it.")
def _gc(
    keep: Annotated[
        int | None,
        typer.Option("--keep", metavar="N", min=0, help="Keep the files of the newest N runs, of others the record."),
    ] = None,
    images_older_than: Annotated[
        str, typer.Option("--images-older-than", metavar="TIME", help="Images that madrun built, not used for so long.")
    ] = "30d",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove it; otherwise it is only shown.")] = False,
    results: Results = "results",
    as_json: AsJson = False,
) -> None:
    from madrun.cli.clean import Wanted, collect

    raise typer.Exit(collect(Wanted(keep=keep, images_older_than=images_older_than, yes=yes), results, as_json))


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run(words: list[str]) -> int:
    """Carries out one command line and returns its exit code; the one place where any error ends."""
    try:
        if completion.ASKED in os.environ:
            completion.spread_asked_words()
        words = as_switches(spread_tags(words))
        return int(app.asked(words)(args=words, standalone_mode=True, prog_name="madrun") or 0)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except (Exception, KeyboardInterrupt) as error:
        code, text = _told(error)
        sys.stderr.write(f"madrun: {text}\n" if text else "")
        return int(code)


def _told(error: BaseException) -> tuple[ExitCode, str]:
    """The exit code that an error means, and what there is to say of it."""
    if isinstance(error, MadrunError):
        return error.exit_code, f"error: {error}"
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED, ""
    if isinstance(error, BrokenPipeError):
        return ExitCode.OK, ""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return ExitCode.USAGE, f"error: {error.filename or 'the output'} could not be written: {error.strerror}"
    traceback.print_exception(error)
    return ExitCode.INTERNAL, "internal error: this is a defect of madrun; the lines above say where"
