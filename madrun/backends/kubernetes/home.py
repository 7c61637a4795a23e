"""Results that come home in node 0's log: taken out of it, checked, and put where the launch's results are."""

from __future__ import annotations

import binascii
import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from madrun.backends.kubernetes.pod import ERROR, LINE
from madrun.errors import DataError

_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}\n")
RUNS = "runs"
Sink = Callable[[bytes], None]


class Sieve:
    """Passes a log's lines on, those of standard error apart, but for those between the marks: they hold an archive."""

    def __init__(self, marker: str, show: Sink, tell: Sink | None = None) -> None:
        self._marker, self._show, self._tell = f"{marker} ".encode(), show, tell or show
        self._lines: list[bytes] | None = None
        self._begin, self._missing = b"", 0
        self._blank = b""
        self.archive: bytes | None = None
        self.damaged = False  # an archive came, and is not what was sent
        self.left_out: tuple[str, ...] = ()

    def take(self, line: bytes) -> None:
        """The next line; an empty one is held back until it is known not to belong to the mark."""
        if line.startswith(self._marker):
            self._mark(line[len(self._marker) :])
        elif line.startswith(ERROR):
            self.flush()
            self._tell(line[len(ERROR) :])
        elif self._lines is not None and len(line) == self._next() and _BASE64.fullmatch(line):
            self._lines.append(line)
            self._missing -= LINE
        elif line == b"\n":
            self.flush()
            self._blank = line
        else:
            self.flush()
            self._show(line)

    def flush(self) -> None:
        """Shows what was held back."""
        if self._blank:
            self._show(self._blank)
            self._blank = b""

    def _mark(self, words: bytes) -> None:
        kind, _, rest = words.strip().partition(b" ")
        if kind == b"begin":
            self._blank = b""
            self._begin, self._lines, self._missing = rest, [], int(rest.split()[1])
        elif kind == b"end" and self._lines is not None:
            digest = self._begin.split()[0].decode()
            try:
                data = b"".join(binascii.a2b_base64(line) for line in self._lines)
            except binascii.Error:
                data = b""
            self.damaged = hashlib.sha256(data).hexdigest() != digest
            if not self.damaged:
                self.archive, self.left_out = data, tuple(json.loads(rest))
            self._lines = None

    def _next(self) -> int:
        """Bytes of the next line of the archive: who else prints to the log hardly fills as many."""
        return -(-min(self._missing, LINE) // 3) * 4 + 1


def bring_home(archive: bytes, results: Path) -> tuple[str, ...]:
    """Ids of the runs whose directories are below the results now; each is whole or not there. `DataError` for a
    path that leads out of them.
    """
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=results, prefix=".coming-") as name:
        coming = Path(name)
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
            for member in files:
                place = PurePosixPath(member.name)
                if place.is_absolute() or ".." in place.parts or not member.isfile():
                    raise DataError(f"node 0 has sent {member.name!r}, which is no file below its results")
                target = coming.joinpath(*place.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                source = files.extractfile(member)
                assert source is not None
                with target.open("wb") as out:
                    shutil.copyfileobj(source, out)
        home = results / RUNS
        home.mkdir(exist_ok=True)
        found = sorted(path for path in (coming / RUNS).glob("*") if path.is_dir())
        for path in found:
            if not (home / path.name).exists():
                path.rename(home / path.name)
        return tuple(path.name for path in found)
