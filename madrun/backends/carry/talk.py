"""Asking nodes: the program that answers goes there with the question, over whatever connection there is."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from madrun.backends.carry.there.base import MARK
from madrun.errors import ExitCode, HostsError, MadrunError

# The modules of `there` in the order in which they use each other.
_THERE = ("base", "store", "private", "clones", "images", "results", "requests")
_PACKAGE = "madrun.backends.carry.there"
_BOOT = """import sys, types
for name, text in {modules}:
    module = types.ModuleType(name)
    sys.modules[name] = module
    sys.modules[name.rpartition(".")[0]] = package = sys.modules.get(name.rpartition(".")[0]) or types.ModuleType("")
    setattr(package, name.rpartition(".")[2], module)
    exec(compile(text, name, "exec"), module.__dict__)
sys.modules["{package}.requests"].serve(sys.stdin.buffer, sys.stdout.buffer)
"""
_LOOK_S = 0.2
_KEPT, _KEPT_PARTS = 1 << 16, 16
_END_S = 2.0  # for the last words of a program that has ended
_SAID = 3  # last lines of a program that fails
_SHOWN = 8  # hosts that are named


class Starter(Protocol):
    """What runs a text of sh on a host, its input and output being those of the process that is returned."""

    def start(self, host: str, script: str) -> subprocess.Popen[bytes]:
        """Starts it."""


class Interrupted(MadrunError):
    """The command was to end while it was carrying."""

    exit_code = ExitCode.INTERRUPTED


def printable(text: str) -> str:
    """What a host said, without what a terminal would take for its own."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


class Trouble(Exception):
    """What is wrong on one host, in words."""

    def __init__(self, host: str, text: str) -> None:
        self.host, self.text = host, printable(text)
        super().__init__(f"{host}: {self.text}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A host that something is carried to.

    `python`: a path there; `kind`: what compiled modules it can load (`bundle.kind_of`). `engine`: `docker`, `podman`
    or empty.
    """

    host: str
    python: str
    kind: str = ""
    engine: str = ""


@cache
def program() -> bytes:
    """The text that answers on a node; python 3.8 or later runs it."""
    folder = Path(__file__).with_name("there")
    modules = [(f"{_PACKAGE}.{name}", (folder / f"{name}.py").read_text(encoding="utf-8")) for name in _THERE]
    return _BOOT.format(modules=repr(modules), package=_PACKAGE).encode()


def command(python: str) -> str:
    """The text of sh that runs the program from the beginning of its input."""
    code = f"import sys;exec(sys.stdin.buffer.read({len(program())}))"
    return f"exec {shlex.quote(python)} -I -c {shlex.quote(code)}"


class Talk:
    """One question to one node, and what follows it; ends the program with the `with`."""

    def __init__(self, starter: Starter, target: Target, question: Mapping[str, Any], stop: threading.Event) -> None:
        self._target, self._stop = target, stop
        self._child = starter.start(target.host, command(target.python))
        assert self._child.stdin is not None and self._child.stdout is not None and self._child.stderr is not None
        self._in, self.out = self._child.stdin, self._child.stdout
        self._said: list[bytes] = []
        self._listener = threading.Thread(target=_drain, args=(self._child.stderr, self._said), daemon=True)
        threading.Thread(target=self._watch, daemon=True).start()
        self._listener.start()
        self.send(program() + json.dumps(question).encode() + b"\n")

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self._child.kill()
        with suppress(OSError):
            self._in.close()
        self._child.wait()
        self._listener.join(_END_S)
        self.out.close()

    def send(self, data: bytes) -> None:
        """What follows the question. Where nobody takes it any more, the reply says why."""
        with suppress(BrokenPipeError):
            self._in.write(data)

    def reply(self) -> dict[str, Any]:
        """What the node says to it; `Trouble` where it refuses, or ends without a word."""
        with suppress(OSError):
            self._in.close()
        while line := self.out.readline():
            if line.startswith(MARK.encode()) and line.endswith(b"\n"):
                answer: dict[str, Any] = json.loads(line[len(MARK) :])
                if "error" in answer:
                    raise Trouble(self._target.host, str(answer["error"]))
                return answer
        code = self._child.wait()
        self._listener.join(_END_S)
        if self._stop.is_set():
            raise Interrupted("interrupted")
        said = b"".join(self._said).decode("utf-8", "replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        raise Trouble(self._target.host, "; ".join(lines[-_SAID:]) or f"ended with {code} and said nothing")

    def _watch(self) -> None:
        while self._child.poll() is None:
            if self._stop.wait(_LOOK_S):
                self._child.kill()
                return


def _drain(source: IO[bytes], kept: list[bytes]) -> None:
    """Reads to the end and keeps the last of it."""
    with source:
        while chunk := source.read1(_KEPT):  # type: ignore[attr-defined]
            kept.append(chunk)
            del kept[:-_KEPT_PARTS]


def each(
    targets: Sequence[Target], ask: Callable[[Target], dict[str, Any]], fanout: int, what: str
) -> dict[str, dict[str, Any]]:
    """The answers by host; `HostsError` that names every host with trouble, and begins with `what`."""
    troubles: list[Trouble] = []

    def one(target: Target) -> dict[str, Any]:
        try:
            return ask(target)
        except Trouble as trouble:
            troubles.append(trouble)
            return {}

    if not targets:
        return {}
    with ThreadPoolExecutor(min(fanout, len(targets))) as pool:
        answers = list(pool.map(one, targets))
    if troubles:
        raise refused(what, troubles, targets)
    return {target.host: answer for target, answer in zip(targets, answers, strict=True)}


def refused(what: str, troubles: Iterable[Trouble], targets: Sequence[Target]) -> HostsError:
    """The error that begins with `what` and names every host with trouble, in the order of the targets."""
    found = list(troubles)
    lines = in_lines(found, [target.host for target in targets])
    return HostsError(f"{what}:\n" + "\n".join(lines), {one.host: one.text for one in found})


def in_lines(troubles: Iterable[Trouble], order: Sequence[str]) -> list[str]:
    """A line for each trouble with the hosts that have it, in the order of the hosts."""
    hosts: dict[str, list[str]] = {}
    for trouble in sorted(troubles, key=lambda one: order.index(one.host)):
        hosts.setdefault(trouble.text, []).append(trouble.host)
    return [f"  {named(found)}: {text}" for text, found in hosts.items()]


def named(hosts: Sequence[str]) -> str:
    """Their names, the first of many."""
    more = len(hosts) - _SHOWN
    return ", ".join(hosts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def ask(starter: Starter, target: Target, question: Mapping[str, Any], stop: threading.Event) -> dict[str, Any]:
    """The answer to a question that nothing follows."""
    with Talk(starter, target, question, stop) as talk:
        return talk.reply()
