"""`madrun gc`: shows what runs that are over have left behind, and removes it where that is wanted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.cli.launchremains import of_launches
from madrun.cli.tables import columns, many
from madrun.cli.which import registry
from madrun.errors import ExitCode, UsageError
from madrun.node.seeing.census import Census, take
from madrun.node.seeing.remains import Remain, images, of_agents, of_runs, partials, take_away
from madrun.results.rundir import run_paths
from madrun.results.survey import Look, look
from madrun.spec.codec import to_json
from madrun.units import format_size, parse_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How far the cleaning goes."""

    keep: int | None
    images_older_than: str
    yes: bool


def collect(wanted: Wanted, results: str, as_json: bool) -> int:
    """0, or 3 where something could not be removed."""
    try:
        older_s = parse_duration(wanted.images_older_than)
    except ValueError as error:
        raise UsageError(f"--images-older-than: {error}") from None
    folder = Path(results).absolute()
    census = take(registry())
    looks = [look(path) for path in run_paths(folder)]
    notes = list(census.notes)
    if not (folder / "runs").is_dir():
        notes.append(f"{folder / 'runs'} is not there: run directories are not looked at (--results names another)")
        if wanted.keep is not None:
            raise UsageError(f"--keep: {folder} holds no runs; name their directory with --results")
    found = [*_found(census, looks, wanted.keep, older_s, notes), *of_launches(folder)]
    done = [(remain, take_away(census, remain) if wanted.yes else None) for remain in found]
    if as_json:
        sys.stdout.write(to_json(_document(done, notes, wanted.yes)))
    else:
        _print(done, notes, wanted.yes)
    return int(ExitCode.RUN_FAILED if any(error for _, error in done) else ExitCode.OK)


def _found(census: Census, looks: list[Look], keep: int | None, older_s: float, notes: list[str]) -> Iterator[Remain]:
    uid = os.getuid()
    yield from of_agents(census, uid)
    yield from of_runs(looks, keep)
    yield from partials(looks)
    if not census.engines:
        return
    from madrun.runtimes.images.watch import engine_errors

    try:
        yield from images(census, looks, older_s, uid)
    except engine_errors() as error:
        notes.append(f"images are not looked at: {error}")


def _print(done: list[tuple[Remain, str | None]], notes: list[str], yes: bool) -> None:
    for note in notes:
        sys.stderr.write(f"madrun: {note}\n")
    if not done:
        sys.stdout.write("nothing to remove\n")
        return
    rows = [(remain.kind, remain.name, _size(remain.size), remain.why) for remain, _ in done]
    sys.stdout.write("".join(f"{line}\n" for line in columns(("KIND", "NAME", "SIZE", "WHY"), rows)))
    for remain, error in done:
        if error:
            sys.stderr.write(f"madrun: could not be removed: {remain.kind} {remain.name}: {error}\n")
    total = format_size(sum(remain.size or 0 for remain, error in done if not error))
    if yes:
        sys.stdout.write(f"removed {many(sum(not error for _, error in done), 'item')}, {total}\n")
    else:
        sys.stdout.write(f"nothing was removed; madrun gc --yes removes {many(len(done), 'item')}, {total}\n")


def _size(size: int | None) -> str:
    return "" if size is None else format_size(size)


def _document(done: list[tuple[Remain, str | None]], notes: list[str], yes: bool) -> dict[str, Any]:
    """What `--json` prints. `removed` is null in a dry run; `bytes` null where they are not known."""
    items = [
        {
            "kind": remain.kind,
            "name": remain.name,
            "why": remain.why,
            "bytes": remain.size,
            "removed": not error if yes else None,
            "error": error or None,
        }
        for remain, error in done
    ]
    return {"dry_run": not yes, "items": items, "bytes": sum(remain.size or 0 for remain, _ in done), "notes": notes}
