"""Which Dockerfiles a card of a MAD repository means here: by the `# CONTEXT {...}` header of each."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.errors import CardError
from madrun.spec.card import Card, ImageSource

HEADER_LINES = 5
_HEADER = re.compile(r"#\s*CONTEXT\s+(\{.*\})")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One Dockerfile of a card, relative to the repository; `header` is None where it has none."""

    path: str
    header: Mapping[str, Any] | None


def candidates(card: Card) -> list[Candidate]:
    """Every `<prefix>.*`, sorted."""
    assert card.mad is not None
    repository = Path(card.repository)
    prefix = repository / card.mad.dockerfile
    found = sorted(path for path in prefix.parent.glob(f"{prefix.name}.*") if path.is_file())
    return [Candidate(str(path.relative_to(repository)), read_header(path)) for path in found]


def read_header(path: Path) -> Mapping[str, Any] | None:
    """The header of the first lines; None where there is none."""
    for line in path.read_text(encoding="utf-8").splitlines()[:HEADER_LINES]:
        match = _HEADER.match(line)
        if match:
            header: Mapping[str, Any] = ast.literal_eval(match[1])
            return header
    return None


def matching(card: Card, known: Mapping[str, Any]) -> list[ImageSource]:
    """The images to build and run, one for each Dockerfile that nothing known of this run speaks against.

    Raises `CardError` with the reason for each file where none is left.
    """
    assert card.mad is not None
    kept, reasons = [], []
    for candidate in candidates(card):
        wrong = [
            f"{key}: {value!r}, here {known[key]!r}"
            for key, value in (candidate.header or {}).items()
            if key in known and str(known[key]) != str(value)
        ]
        if wrong:
            reasons.append(f"  {candidate.path}: {'; '.join(wrong)}")
        else:
            context = card.mad.context or ("." if "primus" in card.mad.dockerfile.lower() else "docker")
            kept.append(ImageSource(dockerfile=candidate.path, context=context))
    if not kept:
        said = "\n".join(reasons) or f"  no file {card.mad.dockerfile}.*"
        raise CardError(f"{card.source}: {card.name}: no Dockerfile matches:\n{said}")
    return kept
