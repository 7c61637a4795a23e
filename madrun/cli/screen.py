"""The terminal: the script's output on stdout, news and progress on stderr; a slow terminal never stalls a run."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path

from madrun.results.samples import MARK, parse_line
from madrun.units import format_duration

_TICK_S = 0.02
_DRAW_EVERY_S = 0.5
_CHUNK = 1 << 20
_CLEAR = "\r\x1b[K"


class Screen:
    """Follows the console log of a run as it grows; the log is complete on disk whatever becomes of the terminal."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._one_terminal = self._terminal and sys.stdout.isatty()
        self._lock = threading.Lock()
        self._phase = ""
        self._metric = ""
        self._drawn = False
        self._at_line_start = True
        self._follower: threading.Thread | None = None
        self._complete = threading.Event()

    def phase(self, name: str) -> None:
        """A progress line on a terminal, else a plain line."""
        self._phase = name
        if self._terminal:
            self._draw()
        else:
            self.line(f"[{time.monotonic() - self._started:.1f} s] {name}")

    def line(self, text: str) -> None:
        """One line of news on stderr."""
        with self._lock:
            self._erase()
            sys.stderr.write(f"madrun: {text}\n")
            sys.stderr.flush()

    def follow(self, console: Path) -> None:
        """Starts to show a log; the one before is shown to its end first."""
        self.close()
        self._complete = threading.Event()
        self._follower = threading.Thread(target=self._copy, args=(console, self._complete), daemon=True)
        self._follower.start()

    def unfollow(self) -> None:
        """The log is complete."""
        self._complete.set()

    def close(self) -> None:
        """Returns when everything of the log has been shown."""
        self._complete.set()
        if self._follower is not None:
            self._follower.join()
        with self._lock:
            self._erase()

    def _copy(self, console: Path, complete: threading.Event) -> None:
        drawn = 0.0
        with console.open("rb") as log:
            while True:
                last = complete.is_set()
                while chunk := log.read(_CHUNK):
                    if not self._show(chunk):
                        return
                if last:
                    return
                if self._terminal and time.monotonic() - drawn > _DRAW_EVERY_S:
                    drawn = time.monotonic()
                    self._draw()
                complete.wait(_TICK_S)

    def _show(self, chunk: bytes) -> bool:
        if MARK.encode() in chunk:
            self._remember_metric(chunk)
        with self._lock:
            self._erase()
            try:
                view = memoryview(chunk)
                while view:
                    view = view[os.write(sys.stdout.fileno(), view) :]
            except OSError:
                return False  # nobody reads any more: the run goes on, its log is on disk
            self._at_line_start = chunk.endswith(b"\n")
        return True

    def _remember_metric(self, chunk: bytes) -> None:
        lines = chunk.decode("utf-8", "replace").splitlines()
        for parsed in filter(None, map(parse_line, (line for line in lines if MARK in line))):
            self._metric = f"{parsed[1]} {parsed[0]}"

    def _draw(self) -> None:
        with self._lock:
            if self._one_terminal and not self._at_line_start:
                return
            parts = [self._phase, format_duration(time.monotonic() - self._started), self._metric]
            text = "madrun: " + "  ".join(part for part in parts if part)
            sys.stderr.write(_CLEAR + text[: shutil.get_terminal_size().columns - 1])
            sys.stderr.flush()
            self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            self._drawn = False
