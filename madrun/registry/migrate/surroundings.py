"""What the script of a MAD card expects around it, and the script that gives it the same as a native card."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from madrun.registry.cardtree import IGNORED, work_files
from madrun.spec.card import Card
from madrun.spec.mad import RUN_DIRECTORY, WORKSPACE

WRAPPER = "run.sh"
LIMIT = 1 << 20  # a longer file is no script
COPIED = 1 << 20  # a folder that holds more is linked, not copied for every card
_REACHES_OUT = re.compile(r"\.\.(?:[/\s\"']|$)|/myworkspace\b|\brun_directory\b", re.MULTILINE)
_NAMED = re.compile(r"(?:\.\./|/myworkspace/)([\w.-]+)(?:/([\w.-]+))?")
_VARIABLE = re.compile(r"\$\{?(MAD_\w+)|[\"'](MAD_[A-Z_]+)[\"']")
_GIVEN = frozenset(
    f"MAD_{name}"
    for name in (
        *("DATAHOME", "DATANAME", "OUTPUT_CSV", "MODEL_NAME", "GPU_VENDOR", "RUNTIME_NGPUS", "MULTI_NODE_RUNNER"),
        *("MODEL_NUM_EPOCHS", "MODEL_BATCH_SIZE"),
    )
)
_TEXT = """#!/usr/bin/env bash
# Gives the script what it had in a MAD repository: it runs in {directory}/, what it reaches by ../ stands beside
# that, and {workspace} leads here. Call the script itself as soon as it needs none of this.
here=$PWD
if [[ -e /.dockerenv || -e /run/.containerenv ]]; then
  [[ -e {workspace} ]] || ln -s "$here" {workspace} || echo "{workspace} cannot be made" >&2
fi
cd {directory} || exit 97
{starter} {script} "$@"
code=$?
cd "$here" || exit 97
results=${{MAD_OUTPUT_CSV-}}
[[ -z $results || -e $results || ! -e {directory}/$results ]] || cp "{directory}/$results" "$results" || exit 97
exit "$code"
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """How the script of a card is taken along.

    `files`: name -> file of its folder. `wrapped`: whether it needs the surroundings of a MAD repository; then `beside`
    are the entries of the checkout that it names. `unset`: variables of MAD that it reads and a native card lacks.
    """

    files: dict[str, Path]
    wrapped: bool
    beside: tuple[str, ...]
    unset: tuple[str, ...]


def look_around(card: Card) -> Surroundings:
    """What the card's script needs; `CardError` where its files cannot be taken along."""
    repository = Path(card.repository)
    files = work_files(Path(card.folder), (), repository)
    read = {name: text for name, path in files.items() if (text := _text(path))}
    texts = [card.args, *read.values()]
    opaque = sum(path.stat().st_size for path in files.values()) > COPIED
    reaches = any(_REACHES_OUT.search(text) for text in texts)
    wrapped = reaches or opaque or not card.script.endswith(".sh") or "model.yaml" in files
    names = {name for text in texts for found in _NAMED.findall(text) for name in [_entry(repository, found)] if name}
    used = (name for text in _reached(card.script, read) for found in _VARIABLE.findall(text) for name in found)
    variables = set(filter(None, used))
    return Surroundings(files, wrapped, tuple(sorted(names)), tuple(sorted(variables - _GIVEN)))


def _reached(script: str, read: dict[str, str]) -> list[str]:
    """The texts of the script and of what it names, and so on: other files of the folder may be other cards'."""
    todo, found = [script], dict[str, str]()
    while todo:
        name = todo.pop()
        if name in read and name not in found:
            found[name] = read[name]
            todo += [other for other in read if other not in found and other.rpartition("/")[2] in read[name]]
    return list(found.values())


def _text(path: Path) -> str:
    if path.stat().st_size > LIMIT:
        return ""
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode("utf-8", "replace")


def _entry(repository: Path, found: tuple[str, str]) -> str:
    """The entry of the checkout that a path names; of scripts/ the folder below it."""
    first, second = found
    path = f"{first}/{second}" if first == "scripts" and second else first
    taken = path not in IGNORED | {".", "..", RUN_DIRECTORY, "results", "credential.json", "models.json"}
    return path if taken and (repository / path).exists() else ""


def wrapper(script: str) -> str:
    """The text of the run script that gives `script` its surroundings."""
    starter = "python3" if script.endswith(".py") else "bash"
    return _TEXT.format(directory=RUN_DIRECTORY, workspace=WORKSPACE, starter=starter, script=shlex.quote(script))
