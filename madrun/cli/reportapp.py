"""The commands of `report`; each one's work is imported when it is called."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from madrun.cli.once import OnceGroup, OnceTyper
from madrun.cli.options import AsJson, ReportOptions, takes
from madrun.errors import UsageError

report_app = OnceTyper(
    name="report",
    cls=OnceGroup,
    help="Print the results of all runs as a table.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@report_app.callback()
@takes(options=ReportOptions)
def _report(
    context: typer.Context,
    options: ReportOptions,
    all_metrics: Annotated[bool, typer.Option("--all-metrics", help="A row for each metric, not each run.")] = False,
    as_json: AsJson = False,
) -> None:
    if context.invoked_subcommand is None:
        from madrun.cli.reporting import print_table

        raise typer.Exit(print_table(options.results, options.filters(), as_json, all_metrics))


@report_app.command("csv", help="Write the rows as CSV.")
@takes(options=ReportOptions)
def _report_csv(
    context: typer.Context,
    options: ReportOptions,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to; - for standard output.")
    ] = "-",
) -> None:
    from madrun.cli.reporting import write_csv

    filters = {**options.filters(), "results": options.results}
    before = _given(context.parent)
    if before.get("as_json"):
        raise UsageError("report: found --json before csv; allowed: one of the two forms")
    # What stands before `csv` counts as well; what stands after it counts more.
    chosen = {name: {**filters, **before, **_given(context)}[name] for name in filters}
    raise typer.Exit(write_csv(chosen.pop("results"), chosen, output))


@report_app.command("to-html", help="Write a CSV of results as an HTML table beside it.")
def _report_to_html(
    csv_file_path: Annotated[
        str, typer.Option("--csv-file-path", metavar="FILE", help="The CSV, as perf.csv.")
    ] = "perf.csv",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Where to. Default: the CSV's name with .html.")
    ] = None,
) -> None:
    from madrun.cli.reporting import write_html

    raise typer.Exit(write_html(csv_file_path, output))


@report_app.command("to-email", hidden=True, help="Not there: says what to use in its place.")
def _report_to_email(
    directory: Annotated[str, typer.Option("--directory", metavar="DIR", help="Where the CSVs lie.")] = ".",
    output: Annotated[str, typer.Option("--output", metavar="FILE", help="Where the page was to go.")] = "",
) -> None:
    raise UsageError(
        "report to-email: madrun sends no mail; write a page with madrun report to-html --csv-file-path FILE for each "
        f"CSV below {directory}" + (f", to be put into {output}" if output else "")
    )


def _given(context: Any) -> dict[str, Any]:
    """The options that were typed at this command, by parameter."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name: context.params[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"}
