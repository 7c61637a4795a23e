"""What a card's values must be beyond their types; every error says file, line and key."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from madrun.errors import CardError
from madrun.runners import RUNNERS
from madrun.spec.card import CARD_NAME, CARD_NAME_RULE, Metric
from madrun.spec.context import args_problem, variable_problem
from madrun.spec.validation import did_you_mean

if TYPE_CHECKING:
    from madrun.registry.native import CardFile

Fail = Callable[..., CardError]


def check_card(file: CardFile, folder: Path, repository: Path, fail: Fail) -> None:
    """Raises what `fail(text, *keys)` makes of the first wrong value."""
    if not CARD_NAME.fullmatch(file.name):
        raise fail(f"found {file.name!r}, allowed: {CARD_NAME_RULE}", "name")
    if not file.script.endswith((".sh", ".py")):
        raise fail(f"found {file.script!r}, allowed: a .sh or a .py file", "script")
    _check_paths(file, folder, repository, fail)
    if isinstance(file.gpus_per_node, int) and file.gpus_per_node < 1:
        raise fail(f"found {file.gpus_per_node}, allowed: 'all' or a number >= 1", "gpus_per_node")
    problem = args_problem(file.args.strip("\n"))
    if problem:
        raise fail(problem, "args")
    if file.runner is not None and file.runner not in RUNNERS:
        hint = did_you_mean(file.runner, RUNNERS)
        raise fail(f"found {file.runner!r}{hint}, allowed: {', '.join(sorted(RUNNERS))}", "runner")
    for name, value in file.env.items():
        problem = variable_problem(name, value)
        if problem:
            raise fail(problem, "env", name)
    _check_metrics(file.metrics, fail)


def _check_metrics(metrics: dict[str, Metric], fail: Fail) -> None:
    primaries = [name for name, metric in metrics.items() if metric.primary]
    if len(primaries) > 1:
        raise fail(f"found primary: true on {', '.join(primaries)}, allowed: on one metric", "metrics")
    for name, metric in metrics.items():
        for key, bound in (("min", metric.min), ("max", metric.max)):
            if bound is not None and not math.isfinite(bound):
                raise fail(f"found {bound}, allowed: a finite number; leave it out for no bound", "metrics", name, key)
        if metric.min is not None and metric.max is not None and metric.min > metric.max:
            text = f"found min {metric.min:g} and max {metric.max:g}, allowed: min not above max"
            raise fail(text, "metrics", name, "min")


def _check_paths(file: CardFile, folder: Path, repository: Path, fail: Fail) -> None:
    """Script and files exist and stay inside the repository; the script inside the card's folder."""
    if Path(file.script).is_absolute() or ".." in Path(file.script).parts:
        raise fail(f"found {file.script!r}, allowed: a path below {folder}", "script")
    if not (folder / file.script).is_file():
        raise fail(f"{folder / file.script} does not exist", "script")
    root = repository.resolve()
    for name in file.files:
        _check_inside(folder / name, root, "files", fail)
    for vendor, source in file.images.items():
        if bool(source.image) == bool(source.dockerfile):
            raise fail(f"{vendor}: give either dockerfile (with base) or image", "images")
        if source.dockerfile:
            _check_inside(folder / source.dockerfile, root, "images", fail)
    if file.multiple_results and Path(file.multiple_results).name != file.multiple_results:
        raise fail(f"found {file.multiple_results!r}, allowed: a file name", "multiple_results")


def _check_inside(file: Path, root: Path, key: str, fail: Fail) -> None:
    """The file is there, and inside the repository."""
    try:
        inside, there = file.resolve().is_relative_to(root), file.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a folder that may not be entered, a NUL
        raise fail(f"{str(file)!r} cannot be looked at: {error}", key) from None
    if not inside:
        raise fail(f"{file} lies outside the repository {root}", key)
    if not there:
        raise fail(f"{file} does not exist", key)
