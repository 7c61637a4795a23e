"""The terminal: the script's output and the verdicts on stdout, news and progress on stderr.

One thread writes; everybody else only says what is to be written. So a paused terminal, a full pipe or a reader
that has gone holds up neither the run nor its end.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from madrun.cli.outlet import Outlet
from madrun.results.samples import MARK, parse_line
from madrun.units import format_duration

_TICK_S = 0.02
_DRAW_EVERY_S = 0.5
_GIVE_UP_S = 1.0
_CHUNK = 1 << 20
_CLEAR = b"\r\x1b[K"


@dataclass(slots=True)
class _Log:
    """A console log that is shown as it grows, until it is complete."""

    path: Path
    complete: threading.Event
    file: BinaryIO | None = None


class Screen:
    """Shows a command's runs. `signals` says how many signals the user has sent: then `close` is impatient.

    `out` and `err` are file descriptors; a quiet one shows neither logs nor news, only what is `say` or `show`. `live`:
    whether the scripts' output is shown too.
    """

    def __init__(self, signals: Callable[[], int] = lambda: 0, out: int = 1, err: int = 2, quiet: bool = False) -> None:
        self._quiet, self.live = quiet, True
        self._started = time.monotonic()
        self._signals = signals
        self._out, self._err = Outlet(out), Outlet(err)
        self._terminal = not self._err.mute and os.isatty(err) and os.environ.get("TERM") != "dumb"
        self._phase = self._metric = ""
        self._drawn_at: float | None = None
        self._news: deque[str] = deque()
        self._shows: deque[_Log | bytes] = deque()
        self._last_log = _Log(Path(), threading.Event())
        self._closing = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def phase(self, name: str) -> None:
        """The progress line of a terminal, else a plain line."""
        if self._quiet:
            return
        self._phase = name
        if not self._terminal:
            self.line(f"[{time.monotonic() - self._started:.1f} s] {name}")

    def line(self, text: str) -> None:
        """One line of news on stderr."""
        if not self._quiet:
            self.say(text)

    def say(self, text: str) -> None:
        """One line on stderr that has to be read, however quiet the screen is."""
        self._news.append(text)
        self._wake.set()

    def follow(self, console: Path) -> None:
        """Show this log as it grows, after what was said before."""
        if self._quiet or not self.live:
            return
        self._last_log = _Log(console, threading.Event())
        self._shows.append(self._last_log)
        self._wake.set()

    def unfollow(self) -> None:
        """The log is complete."""
        self._last_log.complete.set()
        self._wake.set()

    def show(self, lines: list[str]) -> None:
        """Lines on stdout, after the logs before them."""
        self._shows.append("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
        self._wake.set()

    def close(self) -> None:
        """Returns when everything was shown; after a signal it does not wait for a terminal that takes nothing."""
        self.unfollow()
        self._closing.set()
        self._wake.set()
        given_up: float | None = None
        while self._thread.is_alive():
            self._thread.join(0.05)
            if self._signals() and given_up is None:
                given_up = time.monotonic() + _GIVE_UP_S
            if given_up is not None and time.monotonic() > given_up:
                return

    def _run(self) -> None:
        while True:
            closing = self._closing.is_set()
            self._wake.clear()
            self._write_news()
            self._write_shows()
            if closing and not self._news and not self._shows and self._out.idle and self._err.idle:
                self._erase()
                self._err.flush(_TICK_S)
                return
            self._draw()
            self._wake.wait(_TICK_S)

    def _write_news(self) -> None:
        while self._news and self._err.idle:
            self._erase()
            self._err.put(f"madrun: {self._news.popleft()}\n".encode("utf-8", "replace"))
            self._err.flush(0)
        self._err.flush(0)

    def _write_shows(self) -> None:
        """As much of stdout's queue as can be written now; a log stays at its head until it is complete."""
        while self._shows and self._out.flush(_TICK_S):
            head = self._shows[0]
            if isinstance(head, bytes):
                self._erase()
                self._out.put((b"" if self._out.at_line_start else b"\n") + head)
                self._shows.popleft()
            elif not self._copy(head):
                break
        self._out.flush(_TICK_S)

    def _copy(self, log: _Log) -> bool:
        """The next part of a log; False where there is none now. A complete log leaves the queue."""
        complete = log.complete.is_set()
        try:
            log.file = log.file or log.path.open("rb")
            chunk = log.file.read(_CHUNK)
        except OSError:
            chunk = b""  # it is no longer there: nothing to show
        if chunk:
            self._remember_metric(chunk)
            self._erase()
            self._out.put(chunk)
        elif complete:
            self._shows.popleft()
            if log.file is not None:
                log.file.close()
        return bool(chunk) or complete

    def _remember_metric(self, chunk: bytes) -> None:
        if MARK.encode() in chunk:
            lines = chunk.decode("utf-8", "replace").splitlines()
            for parsed in filter(None, map(parse_line, (line for line in lines if MARK in line))):
                self._metric = f"{parsed[1]} {parsed[0]}"

    def _draw(self) -> None:
        """The progress line, twice a second, where no half line of the script stands in its place."""
        now = time.monotonic()
        if not self._terminal or not self._out.at_line_start or not self._phase or not self._err.idle:
            return
        if self._drawn_at is None or now - self._drawn_at > _DRAW_EVERY_S:
            parts = [self._phase, format_duration(now - self._started), self._metric]
            text = "madrun: " + "  ".join(part for part in parts if part)
            self._err.put(_CLEAR + text[: shutil.get_terminal_size().columns - 1].encode("utf-8", "replace"))
            self._err.flush(0)
            self._drawn_at = now

    def _erase(self) -> None:
        if self._drawn_at is not None:
            self._err.put(_CLEAR)
            self._err.flush(0)
            self._drawn_at = None
