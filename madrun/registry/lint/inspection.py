"""Holds a repository against every rule."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.errors import CardError
from madrun.registry.lint.arguments import UNKNOWN_ARGUMENT
from madrun.registry.lint.cards import CARD_RULES
from madrun.registry.lint.dockerfiles import DOCKERFILE_RULES
from madrun.registry.lint.finding import Finding, Hit, Rule
from madrun.registry.lint.references import NO_CALLED_FILE, UNFILLED
from madrun.registry.lint.scripts import PYTHON_RULES, SHELL_RULES, Script
from madrun.registry.lint.secrets import TRACED_SECRET, WRITTEN_TOKEN, traced_names
from madrun.registry.lint.subject import CardView, Dockerfile, Repository
from madrun.registry.lint.texts import Text
from madrun.registry.lint.together import TOGETHER_RULES
from madrun.registry.mad.discovery import FILE_NAME
from madrun.spec.card import Card

_PLACE = re.compile(r"(/.+?)(?::(\d+))?(?::\d+)?: (.*)", re.DOTALL)
_OWN_WORDS = (  # what a rule of its own says better than the error
    ("duplicate-name", re.compile(r"is taken by|twice|again")),
    ("gpu-number", re.compile(r"\bn_gpus\b")),
    ("two-forms", re.compile(r"get_models_json\.py.*models\.json|models\.json.*get_models_json\.py")),
    ("no-script", re.compile(r"\bscripts?: .*does not exist")),
    ("broken-header", re.compile(r"CONTEXT header")),
)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found, sorted by place, and how much was looked at."""

    findings: tuple[Finding, ...]
    cards: int
    files: int


def inspect(folder: Path, cards: Iterable[Card], broken: Iterable[CardError], ignored: frozenset[str]) -> Inspection:
    """Holds these cards, their scripts and Dockerfiles and what they share against every rule that is not ignored."""
    repository = Repository(folder, cards)
    found: dict[Finding, None] = {}
    for finding in (*_all(repository), *map(BROKEN_CARD.of, broken_card((repository, broken)))):
        text = repository.texts.known(finding.file)
        silenced = text is not None and finding.rule in text.ignored.get(finding.line, ())
        if finding.rule not in ignored and not silenced:
            found[finding] = None
    ordered = sorted(found, key=lambda finding: (finding.file, finding.line, finding.rule, finding.found))
    return Inspection(tuple(_without_repeats(ordered)), len(repository.cards), repository.texts.count)


def _without_repeats(findings: list[Finding]) -> Iterator[Finding]:
    """Leaves out errors of reading where a rule says the same in better words."""
    said = {(finding.rule, finding.file) for finding in findings if finding.rule != BROKEN_CARD.id}
    for finding in findings:
        same = next((rule for rule, words in _OWN_WORDS if words.search(finding.found)), "")
        if finding.rule != BROKEN_CARD.id or (same, finding.file) not in said:
            yield finding


def _all(repository: Repository) -> Iterator[Finding]:
    for card in repository.cards:
        view = CardView(card, repository)
        for rule in (*CARD_RULES, UNKNOWN_ARGUMENT):
            yield from map(rule.of, rule.check(view))
    yield from _scripts(repository)
    yield from _dockerfiles(repository)
    for shared in TOGETHER_RULES:
        yield from map(shared.of, shared.check(repository))
    yield from map(NOT_READ.of, NOT_READ.check(repository))


def _scripts(repository: Repository) -> Iterator[Finding]:
    owners = _owners(repository)
    folders = {card.folder: None for card in repository.cards}
    done: set[str] = set()
    for folder in folders:
        texts = [text for text in repository.folder_texts(folder) if text.name not in done]
        done |= {text.name for text in texts}
        shells = [Script(text, owners(text)) for text in texts if text.is_shell]
        traced = {name for script in shells for name in traced_names(script)}
        for script in shells:
            name = script.text.name.rpartition("/")[2]
            yield from _shell(Script(script.text, script.cards, name in traced), repository)
        for text in texts:
            if text.is_python:
                script = Script(text, owners(text))
                for rule in PYTHON_RULES:
                    yield from map(rule.of, rule.check(script))
            yield from map(WRITTEN_TOKEN.of, WRITTEN_TOKEN.check(text))
    for name in {CardView(card, repository).listing.name: None for card in repository.cards}:
        listing = repository.texts.known(name)
        if listing and name not in done:
            yield from map(WRITTEN_TOKEN.of, WRITTEN_TOKEN.check(listing))


def _shell(script: Script, repository: Repository) -> Iterator[Finding]:
    for rule in (*SHELL_RULES, UNFILLED, TRACED_SECRET):
        yield from map(rule.of, rule.check(script))
    folder = (repository.folder / script.text.name).parent
    if repository.cloning.intersection(script.cards):
        return  # it runs beside the files of a clone
    below = frozenset(text.name for text in repository.folder_texts(str(folder)))
    prefix = script.text.name.rpartition("/")[0]
    beside = frozenset(name[len(prefix) + 1 :] if prefix else name for name in below)
    yield from map(NO_CALLED_FILE.of, NO_CALLED_FILE.check((script, beside)))


def _owners(repository: Repository) -> Callable[[Text], tuple[str, ...]]:
    """Of which cards a file is: those that start it, else those whose folder holds it."""
    by_script: defaultdict[str, list[str]] = defaultdict(list)
    by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for card in repository.cards:
        folder = repository.texts.name(Path(card.folder))
        by_script[f"{folder}/{card.script}"].append(card.name)
        by_folder[folder].append(card.name)

    def owners(text: Text) -> tuple[str, ...]:
        if text.name in by_script:
            return tuple(by_script[text.name])
        folder = text.name
        while folder:
            folder = folder.rpartition("/")[0]
            if folder in by_folder:
                return tuple(by_folder[folder])
        return ()

    return owners


def _dockerfiles(repository: Repository) -> Iterator[Finding]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for card in repository.cards:
        for name in repository.beside(card.mad.dockerfile) if card.mad else ():
            found[name].append(card.name)
    for name, names in found.items():
        text = repository.texts.read(repository.folder / name)
        if text:
            for rule in DOCKERFILE_RULES:
                yield from map(rule.of, rule.check(Dockerfile(text, tuple(names))))
            yield from map(WRITTEN_TOKEN.of, WRITTEN_TOKEN.check(text))


def not_read(repository: Repository) -> Iterator[Hit]:
    """Files beside the scripts that are too long or could not be opened."""
    return (Hit(name, 1, why) for name, why in repository.texts.unread.items())


def broken_card(subject: tuple[Repository, Iterable[CardError]]) -> Iterator[Hit]:
    """What reading the cards has failed with."""
    repository, errors = subject
    for part in (part for error in errors for part in str(error).split("\n")):
        match = _PLACE.match(part)
        if match:
            path = Path(match[1])
            listing = path / FILE_NAME if path.is_dir() else path
            yield Hit(repository.texts.name(listing), int(match[2] or 1), match[3])
        else:
            yield Hit(".", 1, part)


NOT_READ = Rule("not-read", "warning", "nothing is known of it; keep data out of script folders", not_read)
BROKEN_CARD = Rule("broken-card", "error", "correct it: `madrun run` refuses it as well", broken_card)
_GROUPS: tuple[tuple[Rule[Any], ...], ...] = (
    *(CARD_RULES, DOCKERFILE_RULES, SHELL_RULES, PYTHON_RULES, TOGETHER_RULES),
    (UNKNOWN_ARGUMENT, NO_CALLED_FILE, UNFILLED, TRACED_SECRET, WRITTEN_TOKEN, NOT_READ, BROKEN_CARD),
)
IDS = frozenset(rule.id for group in _GROUPS for rule in group)
