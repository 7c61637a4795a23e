"""The pre- and post-scripts of a run: where each lies, and by which name its copy stands beside the card's script."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from madrun.errors import ContextError
from madrun.registry.mad.tools import SHIPPED, Stack
from madrun.spec.mad import COMMON, Around, Placed, Step

_READ = 1 << 20
_WORDS = ("'", '"', "`", ";", "(", ")", "&", "|")


def around_of(
    stack: Stack, repository: Path, directory: str, files: Mapping[str, Path]
) -> tuple[Around, dict[str, Path]]:
    """What is run around the script, and the files that it needs, by their names in the work directory.

    `files`: those of the card. A step's copy never replaces one of them, nor that of another step.
    """
    placed: dict[str, Path] = {}

    def place(step: Step, kind: str) -> Placed:
        source = _source(step.path, repository, kind)
        name = posixpath.basename(step.path)
        number = 1
        while not _free(f"{directory}/{name}", source, {**files, **placed}):
            number += 1
            name = f"{number}-{posixpath.basename(step.path)}"
        placed[f"{directory}/{name}"] = source
        return Placed(step.path, name, step.args)

    pre = tuple(place(step, "pre_scripts") for step in stack.pre)
    post = tuple(place(step, "post_scripts") for step in stack.post)
    texts = (stack.front, *(step.args for step in (*pre, *post)))
    for text in texts:
        placed |= {name: source for name, source in _named_in(text, repository).items() if name not in files}
    return Around(pre=pre, post=post, front=stack.front, env=stack.env), placed


def _free(name: str, source: Path, taken: Mapping[str, Path]) -> bool:
    return name not in taken or taken[name].resolve() == source.resolve()


def find(path: str, repository: Path) -> Path | None:
    """A file by its path in the workspace: of the repository, else of what madrun adds to scripts/common."""
    inside = posixpath.normpath(path)
    if inside.startswith(("/", "../")):
        return None
    own = repository / inside
    shipped = SHIPPED / inside.removeprefix(f"{COMMON}/")
    if own.is_file():
        return own
    part = inside.removeprefix(f"{COMMON}/").partition("/")[0]
    hidden = (repository / COMMON / part).exists()  # the repository's own stands there in place of madrun's
    return shipped if inside.startswith(f"{COMMON}/") and shipped.is_file() and not hidden else None


def _source(path: str, repository: Path, kind: str) -> Path:
    found = find(path, repository)
    if found is None:
        raise ContextError(
            f"{kind}: {path!r} is no file of {repository}, and none that madrun adds to {COMMON}; "
            "allowed: a path relative to the root of the repository"
        )
    return found


def used_of_common(files: Mapping[str, Path], texts: Iterable[str], repository: Path) -> dict[str, Path]:
    """The files of scripts/common that these files and texts name, and what those name in turn; by their paths."""
    found: dict[str, Path] = {}
    known = dict(files)
    waiting = [*texts, *filter(None, map(_speaking, files.values()))]
    while waiting:
        for name, source in _named_in(waiting.pop(), repository).items():
            if name not in found and source not in known.values():
                found[name] = source
                waiting.append(_speaking(source))
    return dict(sorted(found.items()))


def _speaking(file: Path) -> str:
    """The beginning of the file, where it speaks of scripts/common; else nothing."""
    with suppress(OSError), file.open("rb") as opened:
        text = opened.read(_READ)
        return text.decode("utf-8", "replace") if COMMON.encode() in text else ""
    return ""


def _named_in(text: str, repository: Path) -> dict[str, Path]:
    """The files of scripts/common that a text of the shell names: a change of one is a change of the run."""
    for mark in _WORDS:
        text = text.replace(mark, " ")
    names = {posixpath.normpath(word[word.index(COMMON) :]) for word in text.split() if f"{COMMON}/" in word}
    found = {name: find(name, repository) for name in names if name.startswith(f"{COMMON}/")}
    return {name: source for name, source in found.items() if source is not None}
