"""`madrun run --sweep`: a suite that was typed instead of written."""

from __future__ import annotations

from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, Show
from madrun.cli.suite import begin
from madrun.cli.suiteoptions import SuiteOptions
from madrun.cli.suitewords import Typed, suite_of_sweep
from madrun.errors import UsageError

Groups = tuple[RunOptions, LaunchOptions, tuple[RepositoryOptions, RunFiles, Show]]


def run_sweep(groups: Groups, more: tuple[str | None, int, bool], words: list[str], how: tuple[bool, bool]) -> int:
    """Runs one case for each combination of the values.

    `more` are --plan, --repeat and --keep-alive, `how` are --dry-run and --array.
    """
    if not words:
        raise UsageError("--array: found without --sweep; allowed: with --sweep KEY=VALUES, or with a suite")
    options, launch, (repository, files, show) = groups
    plan, repeat, keep_alive = more
    if plan is not None or keep_alive:
        flag = "--plan" if plan is not None else "--keep-alive"
        raise UsageError(f"{flag}: found beside --sweep; allowed: one of them")
    typed = Typed(options=options, launch=launch, repository=repository, files=files, show=show)
    return begin(suite_of_sweep(typed, words, repeat), typed, SuiteOptions(dry_run=how[0], array=how[1]))
