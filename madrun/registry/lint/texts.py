"""The files of a repository as rules see them: each read once, with what its comments ask not to be reported."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from madrun.registry.lint.shell import Line, code_lines

LIMIT = 1 << 20  # a script is shorter; what is longer is data
LONGEST = 4000  # letters; a longer line is data, and is left out
_IGNORE = re.compile(r"#\s*madrun:\s*ignore\s+([a-z][a-z-]*(?:\s*,\s*[a-z][a-z-]*)*)")
_BASH = re.compile(r"#!.*\b(?:ba|da|k|z)?sh\b")
_PYTHON = re.compile(r"#!.*\bpython")


@dataclass(frozen=True)
class Text:
    """One file: its path relative to the repository, and its text with line ends as they stand."""

    name: str
    raw: str

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines without their ends; a carriage return stays."""
        return tuple(self.raw.split("\n"))

    @cached_property
    def code(self) -> list[Line]:
        """What bash carries out of it."""
        return code_lines(self.raw)

    @property
    def is_shell(self) -> bool:
        """Whether bash reads it, by its name or its first line."""
        return self.name.endswith((".sh", ".bash", ".slurm")) or bool(_BASH.match(self.lines[0]))

    @property
    def is_python(self) -> bool:
        """Whether Python reads it, by its name or its first line."""
        return self.name.endswith(".py") or bool(_PYTHON.match(self.lines[0]))

    @cached_property
    def ignored(self) -> dict[int, frozenset[str]]:
        """Rules that are not to be reported, by line; a comment counts for its own line and for the one after it."""
        found: dict[int, frozenset[str]] = {}
        if "madrun:" not in self.raw:
            return found
        for number, line in enumerate(self.lines, 1):
            if match := _IGNORE.search(line):
                rules = frozenset(word.strip() for word in match[1].split(","))
                for place in (number, number + 1):
                    found[place] = found.get(place, frozenset()) | rules
        return found


@dataclass
class Texts:
    """Reads files below a repository, each once; `unread` says why of those that were not."""

    repository: Path
    unread: dict[str, str] = field(default_factory=dict)
    _read: dict[Path, Text | None] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many files were read."""
        return sum(text is not None for text in self._read.values())

    def name(self, path: Path) -> str:
        """The path relative to the repository, where it lies there."""
        return str(path.relative_to(self.repository)) if path.is_relative_to(self.repository) else str(path)

    def read(self, path: Path) -> Text | None:
        """The file's text; None where it is not there, not text, too long or unreadable."""
        if path not in self._read:
            self._read[path] = self._load(path)
        return self._read[path]

    def known(self, name: str) -> Text | None:
        """A file that was read before."""
        return self._read.get(self.repository / name)

    def _load(self, path: Path) -> Text | None:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                return None
            if status.st_size > LIMIT:
                self.unread[self.name(path)] = f"{status.st_size} bytes, more than {LIMIT}"
                return None
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.unread[self.name(path)] = error.strerror or str(error)
            return None
        if b"\0" in data:
            return None  # a program, an archive, weights
        text = data.decode("utf-8", "replace").removeprefix("\ufeff")
        if len(text) > LONGEST:
            text = "\n".join(line if len(line) <= LONGEST else "" for line in text.split("\n"))
        return Text(self.name(path), text)
