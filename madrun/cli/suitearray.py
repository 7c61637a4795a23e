"""A suite as an array of SLURM, a task for each case: submitted here, and its ends are looked up whenever one asks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from madrun.cli.launching import Made, make_launch
from madrun.cli.suitejob import asked_of_words
from madrun.cli.suiteplace import Place, place_of
from madrun.errors import ContextError
from madrun.spec.codec import to_plain
from madrun.spec.launch import CASE, FOLDERS
from madrun.suites.folder import Journal, SuiteFolder
from madrun.suites.progress import ENDED, RUNNING, Attempt, Progress
from madrun.suites.suite import Case, Suite, tag_of


def submit_array(folder: SuiteFolder, suite: Suite, progress: Progress, journal: Journal) -> str:
    """Submits what is due and returns the number of the job; `ContextError` where cases ask for different things."""
    from madrun.backends.slurm import backend as slurm
    from madrun.cli.signals import catch_signals
    from madrun.cli.terminal import Terminal

    os.chdir(suite.cwd)
    due = set(progress.due())
    made = [_made(suite, case, progress) for case in suite.cases if case.name in due]
    settings = made[0][2].settings
    if other := next((case for case, _, one in made if one.settings != settings), None):
        raise ContextError(
            f"--array: found other settings of slurm in {other.name!r} than in {made[0][0].name!r}, allowed: one array "
            "asks for one thing; give those that differ a suite of their own"
        )
    script = slurm.render_array([one.launch for _, _, one in made], settings)
    place = folder.path / f"array-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.sh"
    place.write_text(next(iter(script.values())), encoding="utf-8")
    folders = [one.folder() for _, _, one in made]
    for case, attempt, _ in made:
        journal.add(RUNNING, case=case.name, attempt=to_plain(attempt))
    try:
        return slurm.submit_array(place, folders, Terminal(catch_signals()))
    except BaseException:
        for case, attempt, _ in made:
            ended = replace(attempt, status="interrupted", reason="the array could not be submitted")
            journal.add(ENDED, case=case.name, attempt=to_plain(ended))
        raise


def _made(suite: Suite, case: Case, progress: Progress) -> tuple[Case, Attempt, Made]:
    place: Place = place_of(suite, case, progress.bad, None)
    number = len(progress.of(case.name).attempts) + 1
    made = make_launch(asked_of_words([*case.words, *place.words]))
    launch = replace(made.launch, env={**made.launch.env, CASE: tag_of(suite, case, number)})
    attempt = Attempt(number=number, at=round(time.time(), 3), nnodes=launch.nnodes, launch=launch.id)
    return case, attempt, replace(made, launch=launch)


def ends_of(suite: Suite, attempts: Iterable[tuple[str, Attempt]]) -> dict[str, int | None]:
    """By the name of its case the exit code of each attempt that has ended as a launch; None where nobody knows it."""
    from madrun.backends.launchfolder import LaunchFolder
    from madrun.backends.slurm import backend as slurm
    from madrun.backends.slurm.attempt import latest

    found: dict[str, int | None] = {}
    for name, attempt in attempts:
        folder = LaunchFolder(Path(suite.results) / FOLDERS / attempt.launch)
        seen = latest(folder.path)
        if seen is not None and seen.code is not None and not seen.requeued:
            found[name] = seen.code
            continue
        state = slurm.state(folder)  # which may not know it: a controller that does not answer has ended nothing
        if state.phase == "ended":
            folder.forget_private()
            found[name] = state.exit_code
    return found
