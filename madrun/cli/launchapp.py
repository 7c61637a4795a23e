"""The commands beside `run` that know launches of all nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, SavedPlan, Show, takes
from madrun.cli.suiteoptions import SuiteOptions


def add_launch_commands(app: typer.Typer) -> None:
    """Adds them to the application."""
    app.command("render", help="Write what a backend would be given, for those who submit by hand; start nothing.")(
        _render
    )
    app.command("suite", help="Run the cases of a suite file one after the other; go on where one was interrupted.")(
        _suite
    )
    app.command("attend", help="Run a launch that lies in its folder, as the background of --detach.", hidden=True)(
        _attend
    )


@takes(options=RunOptions, repository=RepositoryOptions, files=RunFiles, launch=LaunchOptions)
def _render(
    options: RunOptions,
    repository: RepositoryOptions,
    files: RunFiles,
    launch: LaunchOptions,
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="Where to: a new or an empty folder.")],
    plan: SavedPlan = None,
) -> None:
    from madrun.cli.launch import render
    from madrun.cli.launching import asked_of

    raise typer.Exit(render(asked_of(options, launch, (repository, files, Show()), (plan, 1, False)), to))


@takes(
    options=RunOptions,
    repository=RepositoryOptions,
    files=RunFiles,
    show=Show,
    launch=LaunchOptions,
    suite=SuiteOptions,
)
def _suite(
    options: RunOptions,
    repository: RepositoryOptions,
    files: RunFiles,
    show: Show,
    launch: LaunchOptions,
    suite: SuiteOptions,
    word: Annotated[str | None, typer.Argument(metavar="[FILE|SUITE]", help="A suite file; or an id, or last.")] = None,
) -> None:
    from madrun.cli.suite import suite_command
    from madrun.cli.suitewords import Typed

    typed = Typed(options=options, launch=launch, repository=repository, files=files, show=show)
    raise typer.Exit(suite_command(typed, suite, word))


def _attend(folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Of the launch.")]) -> None:
    from pathlib import Path

    from madrun.backends.launchfolder import LaunchFolder
    from madrun.cli.launch import attend

    raise typer.Exit(attend(LaunchFolder(Path(folder))))
