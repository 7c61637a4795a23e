"""`results/suites/<suite id>/`: what the cases are, written first, and the journal of what became of them."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.errors import UsageError
from madrun.results.rundir import write_atomically
from madrun.spec.codec import from_plain, to_json
from madrun.spec.validation import Invalid, nearest
from madrun.suites.progress import Progress, fold
from madrun.suites.suite import Suite, check_frozen

FOLDERS, FILE, JOURNAL = "suites", "suite.json", "journal.jsonl"
DRIVER, CASE = ".driver.lock", ".case.lock"  # held by who drives the suite, and by what it has started


@dataclass(frozen=True, slots=True)
class SuiteFolder:
    """One suite on disk."""

    path: Path

    def write(self, suite: Suite) -> None:
        """Freezes the cases: whole, or not at all. `UsageError` where the results cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path / FILE, to_json(suite))
        except OSError as error:
            raise UsageError(f"--results: {self.path} cannot be written: {error.strerror}; name another") from None

    def suite(self) -> Suite:
        """As it was frozen; `UsageError` where the file is not whole or was changed."""
        place = str(self.path / FILE)
        try:
            return check_frozen(from_plain(Suite, json.loads((self.path / FILE).read_text(encoding="utf-8"))), place)
        except (OSError, ValueError, Invalid) as error:
            raise UsageError(f"{place}: is no suite that can be read: {str(error).splitlines()[0]}") from None

    def events(self) -> Iterator[dict[str, Any]]:
        """The lines of the journal, oldest first; one that was cut by a kill is left out."""
        try:
            data = (self.path / JOURNAL).read_bytes()
        except FileNotFoundError:
            return
        for line in data.split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event

    def progress(self, suite: Suite) -> Progress:
        """What the journal says of the suite's cases."""
        return fold((case.name for case in suite.cases), self.events())


class Journal:
    """The open journal of the one driver of a suite: every line is on disk when `add` returns."""

    def __init__(self, folder: SuiteFolder, progress: Progress) -> None:
        """Opens it; a last line that was cut is ended, so that the next one stands alone."""
        self._progress = progress
        self._file = os.open(folder.path / JOURNAL, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def add(self, event: str, **details: Any) -> None:
        """One line more, which the progress takes as well."""
        line = {"at": round(time.time(), 3), "event": event, **details}
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(self._file, data) :]
        os.fdatasync(self._file)
        self._progress.take(line)

    def close(self) -> None:
        """No line is added any more."""
        os.close(self._file)


def new_folder(results: Path, name: str) -> SuiteFolder:
    """A folder of its own, made when the suite is written; its name is the id of the suite."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    short = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-")[:40] or "suite"
    return SuiteFolder(results / FOLDERS / f"{stamp}-{short}-{secrets.token_hex(3)}")


def suite_folders(results: Path) -> list[SuiteFolder]:
    """Every suite below the results, oldest first."""
    folders = results / FOLDERS
    found = sorted(path for path in folders.iterdir() if (path / FILE).is_file()) if folders.is_dir() else []
    return [SuiteFolder(path) for path in found]


def find_suite(results: Path, word: str, name: str = "") -> SuiteFolder:
    """The suite of this id or beginning of one, or `last`: the newest, of this name where one is given."""
    found = suite_folders(results)
    if not found:
        raise UsageError(f"{results / FOLDERS}: found no suite; begin one without --resume, --rerun and --status")
    if word == "last":
        fits = [folder for folder in found if not name or folder.suite().name == name][-1:]
    else:
        fits = [folder for folder in found if folder.path.name == word]
        fits = fits or [folder for folder in found if folder.path.name.startswith(word)]
    if len(fits) == 1:
        return fits[0]
    names = [folder.path.name for folder in fits or found]
    if fits:
        raise UsageError(f"found {word!r}, which begins {len(fits)} suites: {', '.join(names[-5:])}; say more of it")
    hint = nearest(word, names) or names[-3:]
    what = f"no suite {name!r}" if word == "last" else f"{word!r}, which is no suite"
    raise UsageError(f"found {what} below {results / FOLDERS}; allowed: last, or the id of one: {', '.join(hint)}")
