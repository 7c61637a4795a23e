"""Text of a command's options as words: quotes, backslashes and variables as a POSIX shell reads them, and no more.

Nothing is executed: what would start a second command, or run one for its output, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)")
_BRACED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?-)([^{}$`]*))?\}")
_COMMAND = frozenset(";|&<>()`")
_ESCAPED_IN_QUOTES = frozenset('$`"\\\n')


@dataclass(frozen=True, slots=True)
class Word:
    """One word, and the names of the variables whose values stand in it."""

    text: str
    names: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Reader:
    text: str
    env: Mapping[str, str]
    place: int = 0
    words: list[Word] = field(default_factory=list)
    current: str | None = None  # None between two words; "" is a word that is empty so far
    names: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        self.current = (self.current or "") + text

    def end_word(self) -> None:
        if self.current is not None:
            self.words.append(Word(self.current, frozenset(self.names)))
        self.current, self.names = None, set()

    def value(self) -> str:
        """What stands behind the `$` at this place; the place moves behind it."""
        rest = self.text[self.place + 1 :]
        braced = _BRACED.match(rest, 1) if rest.startswith("{") else None
        plain = _VARIABLE.match(rest)
        match = braced or plain
        if match is None:
            if rest[:1] in ("(", "{"):
                raise ValueError(f"found {self.text[self.place : self.place + 20]!r}, allowed: $NAME or ${{NAME}}")
            self.place += 1
            return "$"
        self.place += 1 + match.end()
        name = match[1]
        self.names.add(name)
        found = self.env.get(name)
        operator, default = (braced[2], braced[3]) if braced else (None, None)
        if operator is not None and (found is None or (operator == ":-" and not found)):
            return default or ""
        if found is None:
            raise ValueError(f"${name} is not set on this host; set it, or write its value")
        return found


def shell_words(text: str, env: Mapping[str, str]) -> list[Word]:
    """The words of the text with the variables of `env` in them; `ValueError` says what no option can hold.

    The value of a variable outside of quotes is split at blanks, as a shell does it.
    """
    reader = _Reader(text, env)
    while reader.place < len(text):
        _step(reader)
    reader.end_word()
    return reader.words


def _step(reader: _Reader) -> None:
    char = reader.text[reader.place]
    if char == "'":
        _single(reader)
    elif char == '"':
        _double(reader)
    elif char == "$":
        _unquoted_value(reader)
    elif char == "\\":
        following = reader.text[reader.place + 1 : reader.place + 2]
        if not following:
            raise ValueError("found a backslash at the end")
        if following != "\n":  # one before a line break joins the lines
            reader.add(following)
        reader.place += 2
    elif char.isspace():
        reader.end_word()
        reader.place += 1
    elif char in _COMMAND:
        raise ValueError(f"found {char!r} outside of quotes, which would start another command; allowed: options alone")
    elif char == "~" and reader.current is None and reader.text[reader.place + 1 : reader.place + 2] in ("", "/"):
        reader.add(reader.env.get("HOME", "~"))
        reader.place += 1
    else:
        reader.add(char)
        reader.place += 1


def _single(reader: _Reader) -> None:
    end = reader.text.find("'", reader.place + 1)
    if end < 0:
        raise ValueError("found a quote that is not closed")
    reader.add(reader.text[reader.place + 1 : end])
    reader.place = end + 1


def _double(reader: _Reader) -> None:
    reader.add("")
    reader.place += 1
    while reader.place < len(reader.text):
        char = reader.text[reader.place]
        following = reader.text[reader.place + 1 : reader.place + 2]
        if char == '"':
            reader.place += 1
            return
        if char == "`":
            raise ValueError("found '`', which would run a command; allowed: options alone")
        if char == "$":
            reader.add(reader.value())
        elif char == "\\" and following in _ESCAPED_IN_QUOTES and following:
            reader.add("" if following == "\n" else following)
            reader.place += 2
        else:
            reader.add(char)
            reader.place += 1
    raise ValueError("found a quote that is not closed")


def _unquoted_value(reader: _Reader) -> None:
    value = reader.value()
    pieces = value.split()
    if not pieces:
        if value and reader.current is not None:
            _cut(reader)
        return
    if value[0].isspace() and reader.current is not None:
        _cut(reader)
    for number, piece in enumerate(pieces):
        if number:
            _cut(reader)
        reader.add(piece)
    if value[-1].isspace():
        _cut(reader)


def _cut(reader: _Reader) -> None:
    """Ends a word in the middle of a value; the next one has the same variable in it."""
    names = set(reader.names)
    reader.end_word()
    reader.names = names
