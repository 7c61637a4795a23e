"""Rules for what several cards or files do together."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from madrun.registry.lint.finding import Hit, Rule
from madrun.registry.lint.subject import CardView, Repository
from madrun.registry.mad.discovery import FILE_NAME, GENERATOR
from madrun.registry.mad.tools import SHIPPED
from madrun.spec.mad import COMMON

_TOOLS = f"{COMMON}/tools.json"


def _hit(repository: Repository, views: list[CardView], key: str, found: str) -> Hit:
    """A hit at the first of these cards that names them all."""
    first = views[0]
    line = first.entry.line_of(key) if first.entry else 1
    names = tuple(view.card.name for view in views)
    return Hit(first.listing.name, line, found, names)


def _views(repository: Repository) -> Iterator[CardView]:
    return (CardView(card, repository) for card in repository.cards if card.mad)


def shared_csv(repository: Repository) -> Iterator[Hit]:
    """Several cards write one CSV at the root of the checkout."""
    found = defaultdict(list)
    for view in _views(repository):
        if view.card.multiple_results:
            found[view.card.multiple_results].append(view)
    for name, views in found.items():
        if len(views) > 1:
            yield _hit(repository, views, "multiple_results", f"{name} is written by {len(views)} cards")


def no_time_limit(repository: Repository) -> Iterator[Hit]:
    """A time limit below zero, which generations of the tooling read differently."""
    found = defaultdict(list)
    for view in _views(repository):
        value = view.values.get("timeout")
        if isinstance(value, (int, float, str)) and str(value).strip().startswith("-"):
            found[view.listing.name, str(value)].append(view)
    for (_, value), views in found.items():
        yield _hit(repository, views, "timeout", f"timeout: {value} of {len(views)} cards")


def duplicate_name(repository: Repository) -> Iterator[Hit]:
    """Two entries of one name."""
    for source in _sources(repository):
        listing = repository.listing(str(source))
        seen: dict[str, int] = {}
        for entry in listing.entries:
            if entry.name in seen:
                found = f"name: {entry.name!r} again, first in line {seen[entry.name]}"
                yield Hit(listing.name, entry.line_of("name"), found, (entry.name,))
            elif entry.name:
                seen[entry.name] = entry.line_of("name")


def gpu_number(repository: Repository) -> Iterator[Hit]:
    """n_gpus is no number that means anything; such a card is not read at all."""
    for listing in map(repository.listing, map(str, _sources(repository))):
        for entry in listing.entries:
            value = entry.values.get("n_gpus", "")
            if not re.fullmatch(r"\s*(?:-1|[1-9]\d*)?\s*", "" if value is None else str(value)):
                yield Hit(listing.name, entry.line_of("n_gpus"), f"n_gpus: {value!r}", (entry.name,))


def _sources(repository: Repository) -> list[Path]:
    """Every models.json, whether its cards could be read or not."""
    found = set((repository.folder / "scripts").glob(f"**/{FILE_NAME}")) | {repository.folder / FILE_NAME}
    return sorted(path for path in found if path.is_file())


def two_forms(repository: Repository) -> Iterator[Hit]:
    """models.json and a generator in one folder."""
    for path in _sources(repository):
        if (path.parent / GENERATOR).is_file():
            yield Hit(repository.texts.name(path), 1, f"{FILE_NAME} and {GENERATOR} in one folder")


def broken_json(repository: Repository) -> Iterator[Hit]:
    """A file at the root that is no JSON object."""
    for name in ("data.json", "credential.json", _TOOLS):
        text = repository.texts.read(repository.folder / name)
        if text is None:
            continue
        try:
            data = json.loads(text.raw)
        except json.JSONDecodeError as error:
            yield Hit(name, error.lineno, f"not JSON: {error.msg} at column {error.colno}")
        except RecursionError:
            yield Hit(name, 1, "nested too deeply")
        else:
            if not isinstance(data, dict):
                yield Hit(name, 1, f"found {type(data).__name__}, allowed: an object")


def no_step(repository: Repository) -> Iterator[Hit]:
    """A pre- or post-script of tools.json that is not there."""
    text = repository.texts.read(repository.folder / _TOOLS)
    try:
        tools = json.loads(text.raw)["tools"] if text else {}
    except (ValueError, RecursionError, KeyError, TypeError):
        return
    for path in _steps(tools):
        shipped = SHIPPED / path.removeprefix(f"{COMMON}/")
        if text and not (repository.folder / path).exists() and not shipped.exists():
            line = text.raw.count("\n", 0, max(text.raw.find(f'"{path}"'), 0)) + 1
            yield Hit(_TOOLS, line, f"{path} does not exist")


def _steps(tools: Any) -> Iterator[str]:
    for tool in tools.values() if isinstance(tools, dict) else ():
        for key in ("pre_scripts", "post_scripts"):
            steps = tool.get(key) if isinstance(tool, dict) else None
            for step in steps if isinstance(steps, list) else ():
                path = step.get("path") if isinstance(step, dict) else None
                if isinstance(path, str) and path:
                    yield path


TOGETHER_RULES = (
    Rule(
        "shared-csv",
        "warning",
        "give each card a CSV of its own; older tooling mixes their rows (here each run has a directory of its own)",
        shared_csv,
    ),
    Rule(
        "no-time-limit",
        "warning",
        "write 0 for none, or seconds; some generations take 2 hours for a negative one (here it is none)",
        no_time_limit,
    ),
    Rule("gpu-number", "error", "allowed: -1 for all, or a number of at least 1", gpu_number),
    Rule("duplicate-name", "error", "rename one of them", duplicate_name),
    Rule("two-forms", "error", "keep one of them", two_forms),
    Rule("broken-json", "error", "correct the file", broken_json),
    Rule("no-step", "warning", "correct the path; it counts from the root of the repository", no_step),
)
