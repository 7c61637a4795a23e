"""The console log: everything a script prints, to a file first; whoever shows it reads that file."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from pathlib import Path

MASK = b"***"
MIN_SECRET = 4
_QUIET_S, _SETTLE_S, _LOOK_S = 0.2, 3.0, 0.02


class Console:
    """A sink for output that never raises: a full disk is kept in `error`, and the stream is still read."""

    def __init__(self, path: Path, secrets: tuple[str, ...] = ()) -> None:
        self.path = path
        self.error = ""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        longest_first = sorted(secrets, key=len, reverse=True)  # one may be the beginning of another
        self._secrets = tuple(secret.encode() for secret in longest_first if len(secret) >= MIN_SECRET)
        self._held = b""
        self._closed = False
        self._hash = hashlib.sha256()
        self._lock = threading.Lock()
        self._heard_at = 0.0

    def write(self, chunk: bytes) -> None:
        """Appends a chunk; secrets are masked also where they are cut by the end of a chunk."""
        with self._lock:
            self._heard_at = time.monotonic()
            self._append(self._mask(self._held + chunk) if self._secrets else chunk)

    @property
    def sha256(self) -> str:
        """Of all that was written to the file so far."""
        return self._hash.hexdigest()

    def settle(self) -> None:
        """Returns when nothing has come for a moment: of a box that stays the output has no end to wait for."""
        asked = time.monotonic()
        while time.monotonic() - asked < _SETTLE_S and time.monotonic() - max(asked, self._heard_at) < _QUIET_S:
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """Writes what was held back, and closes the file; what comes later is dropped."""
        with self._lock:
            self._append(self._held)
            if not self._closed:
                os.close(self._fd)
            self._closed, self._held = True, b""

    def _mask(self, text: bytes) -> bytes:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        cut = len(text) - max(self._tail(text, secret) for secret in self._secrets)
        self._held = text[cut:]
        return text[:cut]

    @staticmethod
    def _tail(text: bytes, secret: bytes) -> int:
        """How many bytes at the end may be the beginning of the secret."""
        longest = min(len(secret) - 1, len(text))
        return next((size for size in range(longest, 0, -1) if text.endswith(secret[:size])), 0)

    def _append(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view and not self.error and not self._closed:
            try:
                written = os.write(self._fd, view)
                self._hash.update(view[:written])
                view = view[written:]
            except OSError as error:
                self.error = f"{self.path} is not complete: {error.strerror}"


_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)|[\x00-\x08\x0b-\x1f\x7f]")
_LINE = 300


# How torchrun begins its own report of a rank that failed; its traceback says nothing of why.
_TORCHRUN = re.compile(r"torch/distributed/elastic/multiprocessing/api\.py:\d+\] failed \(exitcode")


def _without_launcher(lines: list[str]) -> list[str]:
    """The lines up to torchrun's word that a rank failed: what stands before it is the rank's own last word."""
    told = next((number for number, line in enumerate(lines) if _TORCHRUN.search(line)), len(lines))
    return lines[: told + 1]


def last_lines(path: Path, count: int = 30, window: int = 64 << 10) -> tuple[str, ...]:
    """The last lines of a log, at most `count`, fit to be printed: no control codes, no endless lines."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - window))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    lines = (_CONTROL.sub("", line) for line in _without_launcher(text.splitlines())[-count:])
    return tuple(line if len(line) <= _LINE else f"{line[:_LINE]}..." for line in lines)
