"""Rules for what a script names: files beside it, and values that were never filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from madrun.registry.lint.finding import Hit, Rule
from madrun.registry.lint.scripts import Script

_CALL = re.compile(
    r"(?:^|[;&|({]|\b(?:then|do|else|exec|if|!))\s*(?:(?:bash|sh|source|\.|python3?)\s+|(?=\./))"
    r"(?:\./)?([\w-]+(?:/[\w.-]+)*\.(?:sh|py))(?=[\s;|&)]|$)"
)
_MAKES_FILES = re.compile(
    r"\b(?:cd|pushd|git|wget|curl|hf|huggingface-cli|unzip|tar|cp|mv|ln|rsync|aws|cat|tee|pip[\d.]*|make)\b"
)
_ASSIGNED = re.compile(
    r"(?:^|[\s;])(?:export\s+)?\w+=[\"']?"
    r"(?:[^\s\"']*/path/to/[\w./-]*|<[A-Za-z][\w .-]*>|CHANGE_?ME|YOUR_\w+|your[-_][\w-]+|TODO|FIXME)"
)
_OPTION = re.compile(r"\s--?[\w-]+[ =][\"']?(/path/to/[\w./-]*)")


def no_called_file(subject: tuple[Script, frozenset[str]]) -> Iterator[Hit]:
    """A script calls a file beside it that is not there, before it could have fetched, made or left for it."""
    script, beside = subject
    for line in script.lines:
        if line.depth == 0 and not _MAKES_FILES.search(line.bare):
            for name in _CALL.findall(line.bare):
                if name not in beside:
                    yield script.hit(line.number, f"{name} does not exist beside it")
        if _MAKES_FILES.search(line.bare) or ">" in line.bare:
            return


def unfilled(script: Script) -> Iterator[Hit]:
    """A variable or an option with a placeholder for its value."""
    for line in script.lines:
        if line.text.lstrip().startswith(("echo", "printf")):
            continue
        if found := _ASSIGNED.search(line.text) or _OPTION.search(line.text):
            yield script.hit(line.number, found[0])


NO_CALLED_FILE = Rule("no-called-file", "warning", "correct the name, or add the file", no_called_file)
UNFILLED = Rule("placeholder", "error", "fill it in", unfilled)
