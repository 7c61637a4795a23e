"""`madrun lint`: what in a model repository fails without a word, or reports a wrong number."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from madrun.cli.repository import find_repository, read_catalogue
from madrun.cli.tables import many, some
from madrun.errors import ExitCode, UsageError
from madrun.registry.lint.finding import Finding
from madrun.registry.lint.inspection import IDS, Inspection, inspect
from madrun.registry.tags import select, split_tags
from madrun.spec.codec import to_json, to_plain
from madrun.spec.validation import did_you_mean

SHOWN = 4  # names of cards, and further lines, in one line


def lint(tags: list[str] | None, repo: str | None, ignore: list[str] | None, strict: bool, as_json: bool) -> int:
    """Prints every finding; 2 where one of them is an error (with `strict` a warning too), or nothing was examined."""
    ignored = _rules(ignore or [])
    repository = find_repository(repo).resolve()
    catalogue = read_catalogue(repository)
    words = split_tags(tags or [])
    # Arguments of a tag are no part of the repository.
    by_name = {card.name: card for card in catalogue.cards}
    cards = [by_name[card.name] for card in select(catalogue.cards, words)] if words else list(catalogue.cards)
    inspection = inspect(repository, cards, () if words else catalogue.broken, ignored)
    sys.stdout.write(_document(inspection) if as_json else _table(inspection))
    errors = sum(finding.severity == "error" for finding in inspection.findings)
    failed = errors or (strict and inspection.findings)
    if not inspection.cards or not inspection.files:
        sys.stderr.write(f"madrun: error: {repository}: nothing was examined ({_examined(inspection)})\n")
        failed = True
    return int(ExitCode.USAGE if failed else ExitCode.OK)


def _rules(values: Iterable[str]) -> frozenset[str]:
    names = frozenset(split_tags(values))
    for name in sorted(names - IDS):
        hint = did_you_mean(name, IDS)
        raise UsageError(f"--ignore: found {name!r}{hint}, allowed: {', '.join(sorted(IDS))}")
    return names


def _document(inspection: Inspection) -> str:
    return to_json(
        {
            "cards": inspection.cards,
            "files": inspection.files,
            "errors": sum(finding.severity == "error" for finding in inspection.findings),
            "warnings": sum(finding.severity == "warning" for finding in inspection.findings),
            "findings": [to_plain(finding) for finding in inspection.findings],
        }
    )


def _table(inspection: Inspection) -> str:
    lines = [line for findings in _alike(inspection.findings) for line in _lines(findings)]
    errors = sum(finding.severity == "error" for finding in inspection.findings)
    warnings = len(inspection.findings) - errors
    return "\n".join(
        [*lines, f"{many(errors, 'error')}, {many(warnings, 'warning')}; examined {_examined(inspection)}", ""]
    )


def _examined(inspection: Inspection) -> str:
    return f"{many(inspection.cards, 'card')}, {many(inspection.files, 'file')}"


def _alike(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one file that differ in nothing but line and cards, together."""
    found: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        found.setdefault((finding.file, finding.rule, finding.found, finding.advice), []).append(finding)
    return list(found.values())


def _lines(findings: list[Finding]) -> tuple[str, str]:
    first = findings[0]
    found = "".join(letter if letter.isprintable() else " " for letter in first.found)
    cards = list(dict.fromkeys(card for finding in findings for card in finding.cards))
    owners = f" [{some(cards, SHOWN)}]" if cards else ""
    others = [str(finding.line) for finding in findings[1:]]
    also = f" (also in line{'s' * (len(others) > 1)} {some(others, SHOWN)})" if others else ""
    return f"{first.file}:{first.line}: {first.severity}: {first.rule}: {found}{owners}{also}", f"    {first.advice}"
