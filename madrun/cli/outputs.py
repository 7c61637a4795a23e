"""What a run writes beside its run directory: rows in a CSV that others read too, and files by MAD's names."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from madrun.errors import UsageError
from madrun.registry.mad.discovery import is_repository
from madrun.results import perfcsv
from madrun.results.perfcsv import Row
from madrun.results.rundir import RunDir
from madrun.spec.card import Card
from madrun.spec.record import Record

if TYPE_CHECKING:  # `madrun status` reads rows, and plans nothing
    from madrun.cli.prepare import Planned, Prepared
    from madrun.cli.request import Request


@dataclass(slots=True)
class Outputs:
    """Where the rows of a command go beside results/perf.csv. `csv` is None where nobody asked for it."""

    results: Path
    csv: Path | None = None
    folder: Path = field(default_factory=Path)
    mad_files: bool = False
    cleanup: bool = False
    env_asked: bool | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    added: int = 0
    asked: bool = False
    failed: bool = False

    def add(self, run: RunDir, record: Record, card: Card | None, planned: Planned | None = None) -> None:
        """Writes the rows and files of one run that has its record; what fails is a warning: the record stands.

        `failed` where a file lacks rows that was asked for: whoever reads it has to hear of that.
        """
        rows = rows_of_run(self.results, run, record)
        try:
            if self.csv is not None:
                from madrun.results.mad import outputcsv

                outputcsv.add(self.csv, rows)
                self.added += len(rows)
            if self.mad_files:
                self._write_mad_files(run, record, rows, card, planned)
            if self._wants_env(planned):
                from madrun.results.mad import logs

                lite = planned is not None and planned.context.rocenv_mode == "lite"
                logs.write_environment(self.folder, record.card, run.node(0), lite)
        except OSError as error:
            self.failed = self.failed or self.asked
            place = error.filename or self.csv or self.folder
            self.warnings.append(
                f"{place} lacks what {run.run_id} says: {error.strerror}; the run directory has it all"
            )

    def _write_mad_files(
        self, run: RunDir, record: Record, rows: list[Row], card: Card | None, planned: Planned | None
    ) -> None:
        from madrun.results.mad import files, logs

        places = [Path(card.folder), Path(card.repository), Path(card.repository) / "scripts"] if card else []
        configs, note = files.configs_of(record.args, places)
        if note:
            self.warnings.append(note)
        files.write(self.folder, rows, configs, self.results)
        if planned is not None:
            job = planned.plan.job
            stem = logs.stem_of(record.card, job.image.dockerfile, job.image.name)
            logs.write_logs(self.folder, stem, run.node(0), job.timeout_s)

    def _wants_env(self, planned: Planned | None) -> bool:
        """By the option, else by the context."""
        if planned is None:
            return False
        return bool(planned.context.gen_sys_env_details if self.env_asked is None else self.env_asked)

    @property
    def told(self) -> str:
        """Where the rows have gone; empty where they went nowhere else."""
        if self.csv is None or not self.added:
            return ""
        beside = ", and MAD's files beside it" if self.mad_files else ""
        return f"{self.added} row{'s' * (self.added > 1)} added to {os.path.relpath(self.csv)}{beside}"

    def close(self) -> None:
        """Removes what only described the last run, where --cleanup-perf asked for it."""
        if self.cleanup:
            from madrun.results.mad import files

            files.remove_entries(self.folder)


def outputs_of(request: Request, prepared: Prepared) -> Outputs:
    """Where the rows go. `UsageError` before anything runs where a file that was named cannot take them."""
    from madrun.results.mad import outputcsv

    asked = request.files
    if asked.output is not None:
        file = Path(asked.output).expanduser().absolute()
        outputcsv.check(file, "--output")
    elif is_repository(prepared.repository):
        file = Path.cwd() / perfcsv.FILE_NAME
    else:
        file = None
    made = Outputs(
        results=request.results,
        csv=file,
        folder=file.parent if file else Path.cwd(),
        mad_files=asked.mad_files,
        cleanup=asked.cleanup_perf,
        env_asked=asked.sys_env_details,
        asked=asked.output is not None,
    )
    if asked.output is None and file is not None:
        try:
            outputcsv.check(file, perfcsv.FILE_NAME)
        except UsageError as error:
            made.csv = None
            made.notes.append(f"no rows here: {error}; they are in {request.results / perfcsv.FILE_NAME}")
    return made


def rows_of_run(results: Path, run: RunDir, record: Record) -> list[Row]:
    """The rows of a run as results/perf.csv has them; as the record says them where that file lacks them."""
    try:
        found = [
            row for row in perfcsv.rows_with(results / perfcsv.FILE_NAME, run.run_id) if row["run_id"] == run.run_id
        ]
    except (OSError, ValueError, KeyError):
        found = []
    # What other runs have put into further columns is none of this one's.
    own = [{name: cell for name, cell in row.items() if cell or name in perfcsv.COLUMNS} for row in found]
    return own or perfcsv.rows_of(record)


def heard(request: Request, prepared: Prepared) -> bool:
    """Whether what scripts print is shown: by --live-output, else by the context, else yes. The log has it all."""
    said = [request.files.live_output, *(planned.context.live_output for planned in prepared.planned[:1])]
    return next((live for live in said if live is not None), True)
