"""Results that come home in node 0's log: taken out of it, checked, and put where the launch's results are."""

from __future__ import annotations

import binascii
import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from madrun.backends.kubernetes.pod import ERROR, LINE
from madrun.errors import DataError

_ENCODED = -(-LINE // 3) * 4 + 1  # a line of the archive with its end
RUNS = "runs"
Sink = Callable[[bytes], None]


class Sieve:
    """Passes a log's lines on, those of standard error apart, but for those between the marks: they hold an archive."""

    def __init__(self, marker: str, show: Sink, tell: Sink | None = None) -> None:
        self._marker, self._show, self._tell = f"{marker} ".encode(), show, tell or show
        self._lines: list[bytes] | None = None
        self._begin = b""
        self._blank = b""
        self.archive: bytes | None = None
        self.left_out: tuple[str, ...] = ()

    def take(self, line: bytes) -> None:
        """The next line; an empty one is held back until it is known not to belong to the mark."""
        if line.startswith(self._marker):
            self._mark(line[len(self._marker) :])
        elif line.startswith(ERROR):
            self.flush()
            self._tell(line[len(ERROR) :])
        elif self._lines is not None and len(line) <= _ENCODED:
            self._lines.append(line)
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
        self._blank = b""
        if kind == b"begin":
            self._begin, self._lines = rest, []
        elif kind == b"end" and self._lines is not None:
            digest = self._begin.split()[0].decode()
            try:
                data = b"".join(binascii.a2b_base64(line) for line in self._lines)
            except binascii.Error:
                data = b""
            if hashlib.sha256(data).hexdigest() == digest:
                self.archive, self.left_out = data, tuple(json.loads(rest))
            self._lines = None


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
