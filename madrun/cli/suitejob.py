"""A suite as one job of SLURM: its body is the driver, on the first node, and every case is a step of the job."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from madrun.cli.launchoptions import LaunchOptions
from madrun.cli.madoptions import RepositoryOptions, RunFiles
from madrun.cli.options import RunOptions, Show
from madrun.cli.words import words_of
from madrun.errors import UsageError
from madrun.suites.suite import Suite

if TYPE_CHECKING:
    from madrun.cli.launching import Asked

_SLURM = "slurm."
_OF_STEP = {
    *("slurm.nodelist", "slurm.exclude", "slurm.cpus_per_task", "slurm.srun", "slurm.containers", "slurm.image"),
    *("slurm.vendor", "slurm.mounts", "slurm.madrun", "slurm.apptainer", "slurm.modules", "slurm.network_interface"),
}
_ALLOCATION = ("SLURM_JOB_ID", "SLURM_JOB_NODELIST")


def wants_job(suite: Suite, env: Mapping[str, str] = os.environ) -> bool:
    """Whether the cases are to have an allocation, and this is none."""
    return suite.backend == "slurm" and not all(env.get(name) for name in _ALLOCATION)


def run_as_job(suite: Suite, how: tuple[str, ...], detach: bool) -> int:
    """Submits the job and shows what its driver prints; its exit code, or 0 at once with --detach.

    `how`: words of `madrun suite` that say which cases. The job asks for as many nodes as the largest case.
    """
    from madrun.backends.launchfolder import LaunchFolder
    from madrun.backends.slurm import backend as slurm
    from madrun.cli.launch import attend
    from madrun.cli.launching import make_launch

    check_alike(suite)
    os.chdir(suite.cwd)
    said = [case.nnodes for case in suite.cases if case.nnodes]
    nodes = ["--nodes", str(max(said))] if said else []
    exclude = ["--exclude", suite.exclude] if suite.exclude else []
    launch = ["--on", suite.backend, *words_of(LaunchOptions(**suite.launch)), *nodes, *exclude]
    made = make_launch(asked_of_words([*suite.cases[0].words, *taken_from_here(suite), *launch]))
    program = (sys.executable, "-m", "madrun", "suite", suite.id, *how, "--results", suite.results)
    body = slurm.render_body(made.launch, made.settings, program)
    return attend(LaunchFolder.create(made.launch, body, made.private), detach)


def check_alike(suite: Suite) -> None:
    """`UsageError` where cases ask for different jobs: they share one, and what a step cannot change holds for all."""
    first = suite.cases[0]
    for case in suite.cases:
        if differing := dict(_of_job(case.words)).items() ^ dict(_of_job(first.words)).items():
            key, value = next(iter(sorted(differing)))
            raise UsageError(
                f"found {key}={value} in {(case if (key, value) in _of_job(case.words) else first).name!r} and not in "
                "all cases, which share one job; allowed: the same for all; give those that differ a suite of their own"
            )


def _of_job(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Keys that a job has and a step of it has not, and their values."""
    said = [word.partition("=")[::2] for flag, word in zip(words, words[1:], strict=False) if flag == "--set"]
    return [(key, value) for key, value in said if key.startswith(_SLURM) and key not in _OF_STEP]


def taken_from_here(suite: Suite) -> list[str]:
    """`--env NAME` of every variable that some case but the first takes from this host: the job has to have it."""
    first, *others = [_names(case.words) for case in suite.cases]
    names = dict.fromkeys(name for found in others for name in found if name not in first)
    return [word for name in names for word in ("--env", name)]


def _names(words: tuple[str, ...]) -> list[str]:
    return [word for flag, word in zip(words, words[1:], strict=False) if flag == "--env" and "=" not in word]


@cache
def _run_command() -> Any:
    """The parser of `madrun run`, which takes longer to make than a case to parse."""
    import typer

    from madrun.cli.app import app

    command: Any = typer.main.get_command(app)
    return command.commands["run"]


def asked_of_words(words: Iterable[str]) -> Asked:
    """What `madrun run WORDS` asks for, as the command line's own parser reads it."""
    from madrun.cli.launching import Asked

    given = _run_command().make_context("run", list(words)).params

    def of(group: type[Any]) -> Any:
        values = {one.name: given[one.name] for one in fields(group)}
        return group(
            **{
                name: list(value) or None if isinstance(value, (list, tuple)) else value
                for name, value in values.items()
            }
        )

    return Asked(
        options=of(RunOptions),
        launch=of(LaunchOptions),
        repository=of(RepositoryOptions),
        files=of(RunFiles),
        show=of(Show),
    )
