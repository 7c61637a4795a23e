"""Stacks of Python processes as py-spy writes them, and the one line that says where a rank stands."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection
from dataclasses import dataclass

_FRAME = re.compile(r"    (?P<name>.+) \((?P<file>[^()]+?)(?::(?P<line>\d+))?\)$")
_THREAD = re.compile(r'Thread .*\((?P<state>[a-z+ ]+)\)(?:: "(?P<name>.*)")?$')
_AROUND = frozenset({"wrapper", "inner", "_wrapped_call_impl", "_call_impl", "decorate_context", "_fn"})
_PACKAGES = ("site-packages/", "dist-packages/", "torch/", "<frozen ")


@dataclass(frozen=True, slots=True)
class Frame:
    """One call: function, file as py-spy names it, line."""

    name: str
    file: str
    line: str

    @property
    def short(self) -> str:
        """`train.py:41 step`, the file without its folders."""
        return f"{self.file.rpartition('/')[2]}{':' if self.line else ''}{self.line} {self.function}"

    @property
    def function(self) -> str:
        """Its name without what it belongs to."""
        return self.name.rpartition(".")[2]


def main_frames(dump: str) -> list[Frame]:
    """The calls of the main thread, the innermost first; empty where the text holds none."""
    found: list[Frame] = []
    inside = False
    for line in dump.splitlines():
        thread = _THREAD.match(line)
        if thread is not None:
            if found:
                break
            inside = thread["name"] in (None, "MainThread")
            continue
        frame = _FRAME.match(line) if inside else None
        if frame is not None:
            found.append(Frame(frame["name"], frame["file"], frame["line"] or ""))
    return found


def where(dump: str, own: Collection[str]) -> str:
    """`train.py:41 step -> all_reduce`: the innermost call of the card's own files, and what that called.

    `own` are the names of the card's files; without one in the stack the innermost call that is no library's counts.
    """
    frames = main_frames(dump)
    if not frames:
        return ""
    mine = next((place for place, frame in enumerate(frames) if _is_own(frame, own)), None)
    if mine is None:
        mine = next((place for place, frame in enumerate(frames) if not _of_a_library(frame)), 0)
    called = next((frame for frame in reversed(frames[:mine]) if frame.function not in _AROUND), None)
    return frames[mine].short + (f" -> {called.function}" if called is not None else "")


def _is_own(frame: Frame, own: Collection[str]) -> bool:
    return any(frame.file == name or frame.file.endswith(f"/work/{name}") for name in own)


def _of_a_library(frame: Frame) -> bool:
    name = frame.file.partition("/")[0].removesuffix(".py")
    return any(mark in frame.file for mark in _PACKAGES) or name in sys.stdlib_module_names
