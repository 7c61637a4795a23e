"""Rows of telemetry: taken from the sources, written down, and summed up at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path

from madrun.probe.telemetry import Source

Summary = dict[str, dict[str, float | None]]
Row = dict[str, float | None]


class Sampling:
    """Takes rows from the sources into a CSV file; what cannot be read is an empty field there.

    A disk that takes no more ends the file with a note; the rows still count for the summary.
    """

    def __init__(self, path: Path, sources: Sequence[Source], started: float) -> None:
        self.note = ""
        self._path, self._sources, self._started = path, sources, started
        self._before: float | None = None
        self._columns = [name for source in sources for name in source.columns]
        self._totals = {name: _Total() for name in self._columns}
        self._file: FileIO | None = None
        try:
            self._file = FileIO(path, "w")
        except OSError as error:
            self._cut(error)
        self._write("time,seconds", self._columns)

    def take(self, now: float | None = None) -> Row:
        """One row, now."""
        at = time.monotonic() if now is None else now
        values = [value for source in self._sources for value in _read(source, at)]
        row = dict(zip(self._columns, values, strict=True))
        seconds, self._before = at - self._before if self._before is not None else 0.0, at
        for name, value in row.items():
            self._totals[name].add(value, seconds)
        self._write(f"{time.time():.3f},{at - self._started:.3f}", [_text(value) for value in values])
        return row

    def close(self) -> Summary:
        """Ends the file; by column mean over the time, max and last."""
        self._end_file()
        for source in self._sources:
            source.close()
        return {name: total.summary() for name, total in self._totals.items()}

    def _write(self, head: str, words: list[str]) -> None:
        if self._file is None:
            return
        try:
            self._file.write((",".join((head, *words)) + "\n").encode())  # a row is whole, or a full disk takes no more
        except OSError as error:
            self._cut(error)

    def _cut(self, error: OSError) -> None:
        self.note = f"{self._path} is not complete: {error.strerror}"
        self._end_file()

    def _end_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()


def _read(source: Source, at: float) -> Sequence[float | None]:
    """Its values; nothing of a source that fails, for no reading may end a run."""
    try:
        return source.read(at)
    except (OSError, ValueError, LookupError):
        return [None] * len(source.columns)


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if value == int(value) else f"{value:.2f}"


class _Total:
    """Of one column what its summary needs; the last row, of a moment only, counts in the mean as what it is."""

    def __init__(self) -> None:
        self._seconds, self._sum = 0.0, 0.0
        self._most: float | None = None
        self._last: float | None = None

    def add(self, value: float | None, seconds: float) -> None:
        """A reading that stands for the seconds before it."""
        if value is None:
            return
        self._seconds += seconds
        self._sum += value * seconds
        self._most = value if self._most is None else max(self._most, value)
        self._last = value

    def summary(self) -> dict[str, float | None]:
        """Rounded to what a reading is worth; None where nothing was read."""
        mean = self._sum / self._seconds if self._seconds else self._last  # of a single row
        values = {"mean": mean, "max": self._most, "last": self._last}
        return {name: None if value is None else round(value, 3) for name, value in values.items()}
