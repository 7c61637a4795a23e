"""A bash script as logical lines: without comments and here-documents, with quoted text set apart.

It is no parser of bash. It never raises, and what it cannot follow it gives as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEREDOC = re.compile(r"<<(-?)\s*[\\'\"]?")
_WORD = re.compile(r"[A-Za-z_]\w*")
_GOES_ON = re.compile(r"(?:\||&&|\|\||\|&)\s*$")
_COMPOUND = re.compile(
    r"(?:^|[;&|(]|\b(?:then|do|else)\b)\s*(if|for|while|until|case|select|\{|fi|done|esac|\})(?=[\s;|&)]|$)"
)
_OPENS = ("if", "for", "while", "until", "case", "select", "{")
_SPECIAL = re.compile(r"[\\'\"#]")
_FUNCTION = re.compile(r"\s*(?:function\s+)?[\w:.-]+\s*\(\)\s*\{")
MAX_LETTERS = 8000
MAX_JOINED = 200  # lines; more is a quote that this reading has lost


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line, by the number of its first: `text` without comment, `bare` with what is quoted made `q`.

    `depth`: how many compound commands (if, loops, functions) it stands in.
    """

    number: int
    text: str
    bare: str
    depth: int


def code_lines(text: str) -> list[Line]:
    """The lines that bash carries out."""
    found: list[Line] = []
    depth = 0
    for number, joined, bare in _logical(text.replace("\r\n", "\n").split("\n")):
        words = _COMPOUND.findall(bare)
        ends = sum(word not in _OPENS for word in words)
        begins = len(words) - ends
        here = max(0, depth - ends) if ends > begins else depth
        if bare.strip():
            found.append(Line(number, joined, bare, here))
        function = _FUNCTION.match(bare)
        depth = max(0, depth + begins - ends + (1 if function and not words.count("{") else 0))
    return found


def _logical(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    number = 0
    while number < len(lines):
        first, joined, bare, quote = number, "", "", ""
        while number < len(lines):
            was = quote
            text, masked, quote = _strip(lines[number], quote)
            number += 1
            goes_on = bool(quote) or text.endswith("\\") or bool(_GOES_ON.search(masked))
            if text.endswith("\\") and not quote:
                text, masked = text[:-1], masked[:-1]
            between = first + 1 < number
            joined += ("\n" if between and was else " " if between else "") + text  # both keep step, letter by letter
            bare += (" " if between else "") + masked
            if number - first >= MAX_JOINED or len(joined) > MAX_LETTERS:
                quote, goes_on = "", False
            if not goes_on:
                break
        for mark in _HEREDOC.finditer(bare.replace("<<<", "   ")) if "<<" in bare else ():
            word = _WORD.match(joined, mark.end())
            if word:
                number = _after(lines, number, word[0], bool(mark[1]))
        yield first + 1, joined, bare


def _after(lines: list[str], number: int, end: str, tabs: bool) -> int:
    """The line after the here-document; one that never ends is none."""
    for at in range(number, len(lines)):
        if (lines[at].lstrip("\t") if tabs else lines[at]).rstrip("\r") == end:
            return at + 1
    return number


def _strip(line: str, quote: str) -> tuple[str, str, str]:
    """The line without its comment, the same with quoted characters as `q`, and the quote that is still open."""
    if not quote and not _SPECIAL.search(line):
        return line, line, ""
    masked: list[str] = []
    at = 0
    while at < len(line):
        letter = line[at]
        if letter == "\\" and quote != "'":
            if at + 1 < len(line):
                masked.append("qq" if quote else "\\q")
            else:
                masked.append("\\")
            at += 2
            continue
        if quote:
            quote = "" if letter == quote else quote
            masked.append("q" if quote else letter)
        elif letter in "'\"":
            quote = letter
            masked.append(letter)
        elif letter == "#" and (at == 0 or line[at - 1] in " \t;&|()"):
            return line[:at].rstrip(), "".join(masked).rstrip(), ""
        else:
            masked.append(letter)
        at += 1
    return line, "".join(masked), quote
