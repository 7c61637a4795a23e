"""Which files of a build context a .dockerignore leaves out, by the rules of BuildKit.

Rules: https://docs.docker.com/build/concepts/context/#dockerignore-files. Syntax of a pattern: Go's `filepath.Match`,
and `**` for any number of folders; a class such as `[^a]` matches a slash too, as in github.com/moby/patternmatcher.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass

from madrun.errors import CardError

_CLASS = re.compile(r"\[\^?(?:(?:\\.|[^\\\]-])(?:-(?:\\.|[^\\\]-]))?)+\]", re.DOTALL)
Hits = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line: what it matches, and whether it takes back an earlier line (`!`)."""

    text: str
    exception: bool
    match: re.Pattern[str]


def read_patterns(text: str, where: str) -> tuple[Pattern, ...]:
    """The patterns of a .dockerignore; `CardError` names the line that is none. `.` and `/` stand for nothing."""
    patterns = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        word = "" if line.startswith("#") else line.strip()
        exception = word.startswith("!")
        word = word.removeprefix("!").strip()
        if exception and not word:
            raise _wrong(where, number, line, "nothing after the exclamation mark")
        path = posixpath.normpath(word).lstrip("/") if word else ""
        if path in ("", "."):
            continue
        try:
            patterns.append(Pattern(path, exception, re.compile(_expression(path), re.DOTALL)))
        except (ValueError, re.error) as error:
            raise _wrong(where, number, line, str(error)) from None
    return tuple(patterns)


def match(path: str, patterns: Sequence[Pattern], above: Hits) -> tuple[bool, Hits]:
    """Whether `path` is left out, and which patterns hit it: `above` for what lies in it; () at the top.

    A pattern that hit a folder holds for all in it. The last pattern that hits decides; one that could not change
    the decision so far is not asked, and then does not count for what lies below either.
    """
    out = False
    hits = []
    for index, pattern in enumerate(patterns):
        hit = bool(above and above[index])
        if not hit and pattern.exception == out:
            hit = pattern.match.fullmatch(path) is not None
        hits.append(hit)
        out = out if not hit else not pattern.exception
    return out, tuple(hits)


def _expression(pattern: str) -> str:
    """The pattern as a regular expression; raises `ValueError` where it is none."""
    if pattern.startswith("**") and not re.search(r"[*?\[\\]", pattern[2:]):
        rest = pattern[2:]  # `**x` is anything that ends in x, `**/x` is x in any folder
        return f"(?:.*/)?{re.escape(rest[1:])}" if rest.startswith("/") else f".*{re.escape(rest)}"
    parts: list[str] = []
    place = 0
    while place < len(pattern):
        part, place = _next(pattern, place)
        parts.append(part)
    return "".join(parts)


def _next(pattern: str, place: int) -> tuple[str, int]:
    """The expression for the construct at `place`, and where the next one begins."""
    sign = pattern[place]
    if pattern.startswith("**", place):
        after = place + 3 if pattern.startswith("/", place + 2) else place + 2
        return (".*" if after >= len(pattern) else "(?:.*/)?"), after
    if sign in "*?":
        return ("[^/]*" if sign == "*" else "[^/]"), place + 1
    if sign == "[":
        found = _CLASS.match(pattern, place)
        if found is None:
            raise ValueError("a [ that begins no class such as [a-z] or [^a]")
        return _class(found[0]), found.end()
    if sign == "\\":
        if place + 1 == len(pattern):
            raise ValueError("a backslash at the end")
        return re.escape(pattern[place + 1]), place + 2
    return re.escape(sign), place + 1


def _class(text: str) -> str:
    """The class with every character in it as a literal, but for the dashes of ranges."""
    start = "[^" if text.startswith("[^") else "["
    characters = re.findall(r"\\.|[^\\]", text[len(start) : -1], re.DOTALL)
    return start + "".join("-" if one == "-" else re.escape(one[-1]) for one in characters) + "]"


def _wrong(where: str, number: int, line: str, what: str) -> CardError:
    return CardError(
        f"{where}:{number}: found {line.strip()!r}: {what}; allowed: a path with *, ?, [a-z], ** and a leading !"
    )
