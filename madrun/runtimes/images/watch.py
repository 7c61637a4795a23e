"""Who follows a build or pull: its log, the person at the screen, and the stop that ends it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from madrun.spec.masking import without_secrets

Line = Callable[[str], None]
_EVERY_S, _SLOWER = 5.0, 0.1
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b")  # ECMA-48, 5.4: control sequences


class Stop:
    """Ends what is under way, from another thread; once set it stays set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []
        self.is_set = False

    def set(self) -> None:
        """Returns when everything under way was told to end."""
        with self._lock:
            self.is_set = True
            ends = list(self._ends)
        for end in ends:
            end()

    @contextmanager
    def ends(self, end: Callable[[], None]) -> Iterator[None]:
        """While the body runs `set` calls `end`; at once where it is set already."""
        with self._lock:
            self._ends.append(end)
            late = self.is_set
        if late:
            end()
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """`log` gets every line, `show` those for a person; both without the values of `secrets`."""

    log: Line
    show: Line
    secrets: Mapping[str, str] = field(default_factory=dict)
    stop: Stop = field(default_factory=Stop)

    def line(self, text: str) -> str:
        """A line for the log and the person; returns it as it was shown."""
        text = self.detail(text)
        if text.strip():
            self.show(text)
        return text

    def detail(self, text: str) -> str:
        """A line for the log alone: of what a carriage return wrote over itself the last, without colours."""
        text = _ESCAPE.sub("", text.rstrip("\r\n").rpartition("\r")[2])
        (text,) = without_secrets((text,), self.secrets)
        self.log(text)
        return text


class Pace:
    """When the next line of progress is due: every few seconds, later every tenth of the time that has gone."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._started = now, now()
        self._next = self._started + _EVERY_S

    def due(self) -> bool:
        """True once for each line."""
        now = self._now()
        if now < self._next:
            return False
        self._next = now + max(_EVERY_S, (now - self._started) * _SLOWER)
        return True


@contextmanager
def stoppable(client: Any, stop: Stop) -> Iterator[None]:
    """While the body reads an answer of the engine, `stop` cuts the connection; the engine then ends its work."""
    answers: list[Any] = []

    mine = threading.get_ident()  # other threads may have answers of the same client

    def keep(answer: Any, **_: Any) -> None:
        if threading.get_ident() != mine:
            return
        answers.append(answer)
        if stop.is_set:
            cut()

    def cut() -> None:
        for answer in answers:
            with suppress(AttributeError, OSError, ValueError, RuntimeError):  # it has ended already
                answer.raw.shutdown()

    hooks = client.hooks["response"]
    hooks.append(keep)
    try:
        with stop.ends(cut):
            yield
    finally:
        hooks.remove(keep)


def engine_errors() -> tuple[type[Exception], ...]:
    """What a call of the engine may raise, while it answers too."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    return DockerException, RequestException, HTTPError
