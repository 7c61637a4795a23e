"""What a user asked for, as one frozen value."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The words of a `run` or `plan` command; `flags` are those that belong to the context."""

    tags: tuple[str, ...]
    repo: str | None
    results: Path
    additional_context: str | None
    additional_context_file: str | None
    site: str | None
    flags: dict[str, Any]
    command: tuple[str, ...]


def make_request(
    tags: list[str] | None,
    repo: str | None,
    results: str,
    contexts: tuple[str | None, str | None, str | None],
    flags: dict[str, str | None],
) -> Request:
    """Checks what needs no file: at least one tag."""
    from madrun.registry.tags import split_tags

    words = tuple(split_tags(tags or []))
    if not words:
        raise UsageError("--tags: nothing is selected; allowed: names or tags of cards (madrun list shows them)")
    inline, file, site = contexts
    return Request(
        tags=words,
        repo=repo,
        results=Path(results).absolute(),
        additional_context=inline,
        additional_context_file=file,
        site=site,
        flags={name: value for name, value in flags.items() if value is not None},
        command=(_program(), *sys.argv[1:]),
    )


def _program() -> str:
    """How this user starts madrun: by its name where a shell finds it, else by the path that was typed."""
    typed = Path(sys.argv[0])
    return "madrun" if typed.name != "madrun" or shutil.which("madrun") else os.path.relpath(typed)
