"""A perf.csv that others own too: rows are added under its own header, and what stands in it stays to the letter."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from madrun.errors import UsageError
from madrun.results.perfcsv import COLUMNS, Row

_NEEDED = ("model", "performance", "metric", "status")


def check(file: Path, said: str) -> None:
    """`UsageError` where rows could not be added in the end; `said` is how the user named the file."""
    if not file.parent.is_dir():
        raise UsageError(f"{said}: {file.parent} is not a directory; make it first")
    if file.exists():
        _check_header(file, said)
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"{said}: {file} cannot be written: Permission denied; name another file")


def _check_header(file: Path, said: str) -> None:
    if not stat.S_ISREG(file.stat().st_mode):
        raise UsageError(f"{said}: {file} is not a regular file; name another one")
    try:
        with file.open("rb") as source:
            names = _names(source.readline())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{said}: {file} cannot be read as CSV: {error}; name another file") from None
    missing = [name for name in _NEEDED if name not in names]
    if names and missing:
        raise UsageError(
            f"{said}: {file} has no column {', '.join(missing)}, so it is no table of results; found: "
            f"{', '.join(names)[:200]}; name another file"
        )


def add(file: Path, rows: Sequence[Row]) -> None:
    """Adds the rows by column name; columns that the file lacks come after its own, and rows before stay as is."""
    csv.field_size_limit(sys.maxsize)
    with _held(file) as target:
        target.seek(0)
        head = target.readline()
        names = _names(head)
        ending = "\r\n" if head.endswith(b"\r\n") else "\n"
        wanted = list(dict.fromkeys([*(names or COLUMNS), *COLUMNS, *(name for row in rows for name in row)]))
        text = io.StringIO()
        csv.DictWriter(text, wanted, restval="", lineterminator=ending).writerows(rows)
        if wanted != names:
            rest = target.read()
            _rewrite(file, (_head(head, names, wanted, ending), rest, _gap(rest, ending), text.getvalue().encode()))
            return
        target.seek(-1, os.SEEK_END)
        gap = b"" if target.read(1) == b"\n" else ending.encode()
        _append(target.fileno(), gap + text.getvalue().encode())


def has_rows_of(file: Path, run_id: str) -> bool:
    """Whether the table has a row of this run already; a table without that column has none that could be told."""
    csv.field_size_limit(sys.maxsize)
    if not file.exists():
        return False
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as source, suppress(csv.Error):
        rows = csv.reader(source)
        place = next((place for place, name in enumerate(next(rows, ())) if name.strip() == "run_id"), None)
        return place is not None and any(len(row) > place and row[place] == run_id for row in rows)
    return False


def _append(handle: int, added: bytes) -> None:
    """All of it, or nothing: on a full disk no half row is left in a file that others own."""
    before = os.fstat(handle).st_size
    try:
        written = 0
        while written < len(added):
            written += os.pwrite(handle, added[written:], before + written)
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, before)
        raise


def _names(head: bytes) -> list[str]:
    """The columns that a header names, without the blanks around them."""
    return [name.strip() for name in next(csv.reader([head.decode("utf-8-sig").rstrip("\r\n")]), [])]


def _head(head: bytes, names: list[str], wanted: list[str], ending: str) -> bytes:
    """The header as it was, with the further columns behind it."""
    text = io.StringIO()
    csv.writer(text, lineterminator=ending).writerow(wanted[len(names) :])
    before = head.rstrip(b"\r\n")
    return before + b"," * bool(names) + text.getvalue().encode()


def _gap(rest: bytes, ending: str) -> bytes:
    return ending.encode() if rest and not rest.endswith(b"\n") else b""


def _rewrite(file: Path, parts: tuple[bytes, ...]) -> None:
    """Another file in its place, of the same mode: whoever is killed meanwhile leaves the old one."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as target:
            target.write(b"".join(parts))
            target.flush()
            os.fsync(target.fileno())
        temporary.chmod(stat.S_IMODE(file.stat().st_mode))
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _held(file: Path) -> Iterator[BinaryIO]:
    """The file, made where it is missing, with a lock on it that lasts as long as the body runs."""
    while True:
        with open(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b") as handle:  # noqa: PTH123 - flags
            fcntl.flock(handle, fcntl.LOCK_EX)
            here = os.fstat(handle.fileno())
            try:
                now = file.stat()
            except FileNotFoundError:
                continue
            if (here.st_dev, here.st_ino) != (now.st_dev, now.st_ino):
                continue  # somebody has put another file in its place while this one was waited for
            yield handle
            return
