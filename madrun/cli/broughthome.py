"""Rows that the launching host adds: of runs that came here from a node's own disk, and to a file that was named."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from madrun.backends.launchfolder import LaunchFolder
from madrun.cli.outputs import rows_of_run
from madrun.registry.mad.discovery import is_repository
from madrun.results import perfcsv
from madrun.results.mad import outputcsv
from madrun.results.rundir import RunDir, read_record, run_paths
from madrun.results.survey import look
from madrun.spec.launch import BROUGHT_HOME, ROWS, Launch
from madrun.spec.record import Record


def add_rows(folder: LaunchFolder, launch: Launch) -> Iterator[str]:
    """Adds rows of what came here to perf.csv of the results, and in a MAD repository to the one there too.

    Those of all runs to the launch's `output`. No table gets the rows of a run twice. Yields what failed.
    """
    results, here = Path(launch.results), set(_brought_home(folder))
    table = results / perfcsv.FILE_NAME
    for path in run_paths(results):
        if path.name not in here and (not launch.output or not is_run_of(launch, path)):
            continue
        record = read_record(path)
        if not isinstance(record, Record):
            continue  # node 0 was lost before it wrote one; madrun status says so
        file = table
        try:
            # Whoever made the table anew since the run came here has its rows already.
            if path.name in here and not any(row["run_id"] == path.name for row in perfcsv.rows_with(table, path.name)):
                perfcsv.mark(results, path.name)
                perfcsv.append(results, RunDir(path), record)
            for file in _files(launch, path.name in here):
                if not outputcsv.has_rows_of(file, path.name):
                    outputcsv.add(file, rows_of_run(results, RunDir(path), record))
        except OSError as error:
            place = error.filename or file
            yield f"{place} lacks what {path.name} says: {error.strerror}; the run directory has it all"
        except (ValueError, csv.Error) as error:  # no table, or no UTF-8: it was another file when it was named
            yield f"{file} lacks what {path.name} says: {error}; the run directory has it all"


def note_rows(folder: LaunchFolder, launch: Launch, failed: Sequence[str]) -> None:
    """Writes down that every table has what it is to have; not so where one failed, or a run still writes its record.

    `failed`: what `add_rows` yielded.
    """
    paths = [path for path in run_paths(Path(launch.results)) if is_run_of(launch, path)]
    if not failed and all(read_record(path) is not None for path in paths):
        folder.journal(ROWS)


def rows_are_due(folder: LaunchFolder, launch: Launch) -> bool:
    """Whether rows of a launch that nobody attends any more are this host's to add, and are perhaps not there yet."""
    events = {event.get("event") for event in folder.events()}
    return ROWS not in events and (BROUGHT_HOME in events or bool(launch.output and events))


def is_run_of(launch: Launch, path: Path) -> bool:
    """Whether a run directory is that of a run of this launch; the day in its name saves a look at most others."""
    return path.name[:8] >= launch.id[:8] and look(path, with_record=False).launch == launch.id


def _files(launch: Launch, came_here: bool) -> Iterator[Path]:
    if came_here and is_repository(Path(launch.repository)):
        yield Path(launch.repository) / perfcsv.FILE_NAME
    if launch.output:
        yield Path(launch.output)


def _brought_home(folder: LaunchFolder) -> Iterator[str]:
    for event in folder.events():
        if event.get("event") == BROUGHT_HOME:
            yield from map(str, event.get("runs", ()))
