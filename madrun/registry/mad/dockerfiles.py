"""Which Dockerfiles a card of a MAD repository means here: by the `# CONTEXT {...}` header of each."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.errors import CardError
from madrun.registry.cardtree import read_text
from madrun.spec.card import Card, ImageSource
from madrun.spec.validation import did_you_mean

HEADER_LINES = 5
DEFAULT_CONTEXT = "docker"
VENDOR = "gpu_vendor"
CTX_TEST, NO_CTX_TEST = "ctx_test", "None"
_HEADER = re.compile(r"\s*#\s*CONTEXT\b\s*(.*)")
_VENDOR_IN_NAME = re.compile(r"\.(amd|nvidia)\.", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One Dockerfile of a card, relative to the repository.

    `wants` is its header; where it has none, what its name says of the vendor. `warning` says what is missing.
    """

    path: str
    wants: Mapping[str, Any]
    warning: str = ""

    def against(self, known: Mapping[str, Any]) -> str:
        """What of this run speaks against it; a key that only one of them has does not. Empty where nothing does."""
        wrong = [
            f"{key}: it is for {value!r}, here it is {known[key]!r}"
            for key, value in self.wants.items()
            if key in known and not _same(value, known[key])
        ]
        return "; ".join(wrong)


def candidates(card: Card) -> list[Candidate]:
    """Every file `<prefix>.*`, sorted; `CardError` where a header is none."""
    assert card.mad is not None
    repository = Path(card.repository)
    prefix = repository / card.mad.dockerfile
    start = f"{prefix.name}."
    folder = prefix.parent
    try:
        found = [path for path in folder.iterdir() if path.name.startswith(start)] if folder.is_dir() else []
    except OSError as error:
        raise CardError(f"{card.source}: {card.name}: dockerfile: {folder} cannot be read: {error.strerror}") from None
    return [
        _candidate(path, str(path.relative_to(repository)))
        for path in sorted(found)
        if path.is_file() and not path.name.endswith(".dockerignore")
    ]


def _candidate(path: Path, name: str) -> Candidate:
    header = read_header(path)
    if header is not None:
        return Candidate(name, header)
    vendor = _VENDOR_IN_NAME.search(path.name)
    if vendor:
        return Candidate(name, {VENDOR: vendor[1].upper()})
    return Candidate(
        name,
        {},
        f"{name}: no '# CONTEXT {{...}}' in its first {HEADER_LINES} lines and no vendor in its name: it is taken on "
        f"every host; write \"# CONTEXT {{'{VENDOR}': 'AMD'}}\" there",
    )


def read_header(path: Path) -> Mapping[str, Any] | None:
    """The header in the first lines; None where there is none. `CardError` with file and line where it is no map."""
    for number, line in enumerate(read_text(path).split("\n")[:HEADER_LINES], 1):
        match = _HEADER.fullmatch(line.rstrip())
        if match and (match[1].startswith("{") or number == 1):
            return _parsed(match[1], f"{path}:{number}")
    return None


def _parsed(text: str, where: str) -> Mapping[str, Any]:
    allowed = f"allowed: a Python literal on one line, such as # CONTEXT {{'{VENDOR}': 'AMD', 'guest_os': 'UBUNTU'}}"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, SystemError):
        raise CardError(f"{where}: the CONTEXT header cannot be read: found {text[:60]!r}, {allowed}") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise CardError(f"{where}: the CONTEXT header: found {type(value).__name__}, {allowed}")
    return value


def _same(one: Any, other: Any) -> bool:
    """As texts in any case, for one comes from a header and the other from a command line; lists by their members."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return str(one).casefold() == str(other).casefold()


def word_of_test(repository: Path) -> str:
    """What `ctx_test` is where the context does not say: the content of the file of that name."""
    file = repository / CTX_TEST
    return read_text(file).strip() if file.is_file() else NO_CTX_TEST


def matching(card: Card, known: Mapping[str, Any]) -> tuple[list[ImageSource], list[str]]:
    """The images to build and run, one for each Dockerfile that nothing known of this run speaks against; warnings.

    Raises `CardError` with the reason for each file where none is left.
    """
    assert card.mad is not None
    found = candidates(card)
    reasons = {candidate.path: candidate.against(known) for candidate in found}
    kept = [candidate for candidate in found if not reasons[candidate.path]]
    if not kept:
        said = "\n".join(f"  {path}: {reason}" for path, reason in reasons.items()) or _nothing_there(card)
        raise CardError(
            f"{card.source}: {card.name}: no Dockerfile fits this run (dockerfile {card.mad.dockerfile!r}):\n{said}\n"
            "name another in the card, say what this run is for in the context (gpu_vendor, guest_os), or a ready "
            "image with MAD_CONTAINER_IMAGE"
        )
    context = context_of(card)
    sources = [ImageSource(dockerfile=candidate.path, context=context) for candidate in kept]
    return sources, [candidate.warning for candidate in kept if candidate.warning]


def context_of(card: Card) -> str:
    """The folder that the builder gets, relative to the repository."""
    assert card.mad is not None
    return card.mad.context or ("." if "primus" in card.mad.dockerfile.lower() else DEFAULT_CONTEXT)


def _nothing_there(card: Card) -> str:
    """Why there is no file, with the prefixes that are near."""
    assert card.mad is not None
    prefix = Path(card.repository) / card.mad.dockerfile
    if not prefix.parent.is_dir():
        return f"  {prefix.parent} does not exist"
    exact = f"; {card.mad.dockerfile} itself is there, but a name goes on with a dot" if prefix.is_file() else ""
    there = {path.name.partition(".")[0] for path in prefix.parent.iterdir() if path.is_file()}
    return f"  no file is named {card.mad.dockerfile}.*{exact}{did_you_mean(prefix.name, there)}"
