"""Cards that a program makes: each scripts/**/get_models_json.py runs in a process of its own, several at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from madrun.errors import CardError

LIMIT_S = 60.0
LIMIT_VARIABLE = "MADRUN_GENERATOR_TIMEOUT"
_AT_ONCE = 8
_MOST_SAID = 20
_MOST_READ = 1 << 20
_PROGRAM = Path(__file__).parent / "shim" / "ask_generator.py"


@dataclass(frozen=True, slots=True)
class Question:
    """A generator, and whose cards are wanted after their `update_model()`; no names: all cards, before it."""

    file: Path
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a generator lists, or the error; `said` is what it wrote to its standard error."""

    file: Path
    cards: list[dict[str, Any]]
    said: tuple[str, ...]
    error: CardError | None


@dataclass(slots=True)
class _Asked:
    file: Path
    process: subprocess.Popen[bytes]
    result: IO[bytes]
    stderr: IO[bytes]
    deadline: float


def ask(questions: Iterable[Question], repository: Path, limit_s: float = LIMIT_S) -> Iterator[Answer]:
    """The answers in the order of the questions. No process is left when this ends, however it ends."""
    waiting: deque[_Asked] = deque()
    try:
        for question in questions:
            if len(waiting) == _AT_ONCE:
                yield _answer(waiting, limit_s)
            waiting.append(_start(question, repository, limit_s))
        while waiting:
            yield _answer(waiting, limit_s)
    finally:
        for asked in waiting:
            _end(asked)
            asked.result.close()
            asked.stderr.close()


def _start(question: Question, repository: Path, limit_s: float) -> _Asked:
    """Files and no pipes: whoever the generator leaves behind cannot make us wait."""
    result, stderr = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - open until it has ended
    command = [sys.executable, "-B", str(_PROGRAM), str(question.file.absolute()), str(result.fileno()), f"{limit_s:g}"]
    process = subprocess.Popen(
        [*command, *question.names],
        cwd=repository,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=(result.fileno(),),
        start_new_session=True,
    )
    return _Asked(question.file, process, result, stderr, time.monotonic() + limit_s)


def _answer(waiting: deque[_Asked], limit_s: float) -> Answer:
    asked = waiting[0]
    late = False
    try:
        asked.process.wait(max(asked.deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        late = True
    waiting.popleft()
    _end(asked)
    with asked.result, asked.stderr:
        asked.stderr.seek(max(asked.stderr.seek(0, os.SEEK_END) - _MOST_READ, 0))
        lines = asked.stderr.read().decode(errors="replace").splitlines()
        asked.result.seek(0)
        written = asked.result.read()
    said = tuple(line.rstrip() for line in lines if line.strip())[-_MOST_SAID:]
    if late:
        hint = f"it was ended; a longer limit: {LIMIT_VARIABLE}=10m"
        return _wrong(asked, said, f"did not end within {limit_s:g} s, {hint}")
    if not written:
        return _wrong(asked, said, f"ended without an answer ({_ending(asked.process.returncode)})")
    try:
        found = json.loads(written)
    except ValueError:
        return _wrong(
            asked, said, "its answer was overwritten; allowed: to leave open files alone that it did not open"
        )
    if "error" in found:
        return _wrong(asked, said, found["error"], found["line"])
    return Answer(asked.file, found["cards"], said, None)


def _wrong(asked: _Asked, said: tuple[str, ...], text: str, line: int | None = None) -> Answer:
    return Answer(asked.file, [], said, CardError(f"{asked.file}{f':{line}' if line else ''}: {text}"))


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.strsignal(-code) or f"signal {-code}"


def _end(asked: _Asked) -> None:
    """Ends the process and what it has started, also where it has ended by itself and left others behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(asked.process.pid, signal.SIGKILL)
    asked.process.wait()
