"""Rules for the `# CONTEXT` header of a Dockerfile."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from madrun.registry.lint.finding import Hit, Rule
from madrun.registry.lint.subject import Dockerfile

_HEADER = re.compile(r"\s*#\s*CONTEXT\b\s*(.*?)\s*$")


def _headers(lines: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        if match := _HEADER.match(line):
            yield number, match[1]


def no_header(file: Dockerfile) -> Iterator[Hit]:
    """None of the first lines holds a header."""
    if any(_headers(file.head)):
        return
    late = [number for number, text in _headers(file.text.lines) if text.startswith("{")]
    if late:
        yield Hit(file.text.name, late[0], f"# CONTEXT in line {late[0]}, where nobody looks for it", file.cards)
    else:
        yield Hit(file.text.name, 1, "no # CONTEXT header, so it is taken for every accelerator", file.cards)


def broken_header(file: Dockerfile) -> Iterator[Hit]:
    """The header is no map that Python can read."""
    for number, text in _headers(file.head):
        if (number == 1 or text.startswith("{")) and not _is_map(text):
            yield Hit(file.text.name, number, f"# CONTEXT {text[:80]}", file.cards)


def _is_map(text: str) -> bool:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, SystemError):
        return False
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


_FORM = "write into the first 5 lines: # CONTEXT {'gpu_vendor': 'AMD', 'guest_os': 'UBUNTU'}"
DOCKERFILE_RULES = (
    Rule("no-header", "warning", _FORM, no_header),
    Rule("broken-header", "error", _FORM, broken_header),
)
