"""What the shell offers at the tab key. Nothing here raises, prints or imports what is slow: no offer is no harm."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from madrun.cli.argv import spread_tags

ASKED = "_MADRUN_COMPLETE"
_BASH_WORDS, _BASH_INDEX = "COMP_WORDS", "COMP_CWORD"
_OTHER_WORDS = "_TYPER_COMPLETE_ARGS"
_MOST_RUNS = 50


def tags(ctx: Any, incomplete: str) -> list[str]:
    """Names and tags of the cards; after a comma those of the next one."""
    from madrun.cli.repository import find_repository
    from madrun.errors import MadrunError
    from madrun.registry.catalogue import load

    before, comma, word = incomplete.rpartition(",")
    try:
        cards = load(find_repository(ctx.params.get("repo")), limit_s=None).cards  # no foreign program at the tab key
    except (MadrunError, OSError):
        return []
    words = {"all", *(name for card in cards for name in (card.name, *card.tags))}
    return [f"{before}{comma}{name}" for name in sorted(words) if name.startswith(word)]


def runtimes(incomplete: str) -> list[str]:
    """Names of the runtimes."""
    return [name for name in ("auto", "docker", "podman", "process") if name.startswith(incomplete)]


def backends(incomplete: str) -> list[str]:
    """Names of the backends that start nodes."""
    from madrun.backends.table import RUNS

    return [name for name in RUNS if name.startswith(incomplete)]


def run_ids(ctx: Any, incomplete: str) -> list[str]:
    """Ids of the newest runs."""
    try:
        names = sorted(path.name for path in (Path(ctx.params.get("results") or "results") / "runs").iterdir())
    except OSError:
        names = []
    offered = [name for name in reversed(names) if name.startswith(incomplete)][:_MOST_RUNS]
    return offered + [name for name in running_ids(incomplete) if name not in offered]


def running_ids(incomplete: str) -> list[str]:
    """Ids of the runs of this user on this host, by the names of their entries alone."""
    from madrun.probe.environment import user_folder

    try:
        entries = sorted(path.name for path in (user_folder("cache") / "agents").glob("*-n*.json"))
    except (OSError, RuntimeError):  # no home
        return []
    ids = dict.fromkeys(name.rpartition("-n")[0] for name in entries)
    return [name for name in ids if name.startswith(incomplete)]


def spread_asked_words() -> None:
    """`--tags a b<TAB>` as the option parser knows it, in what the shell has put into this process's environment."""
    if _BASH_WORDS in os.environ:
        words, index = os.environ[_BASH_WORDS].split("\n"), int(os.environ.get(_BASH_INDEX, 0))
        program, before, incomplete = words[:1], words[1:index], "".join(words[index : index + 1])
        spread = _spread(before, incomplete)
        os.environ[_BASH_WORDS] = "\n".join((*program, *spread))
        os.environ[_BASH_INDEX] = str(len(spread))
    elif _OTHER_WORDS in os.environ:
        text = os.environ[_OTHER_WORDS]
        try:
            typed = shlex.split(text)
        except ValueError:
            return  # an open quote: the parser's own way of splitting knows what to do
        incomplete = "" if text.endswith(" ") or len(typed) < 2 else typed.pop()
        spread = _spread(typed[1:], incomplete)
        os.environ[_OTHER_WORDS] = shlex.join([*typed[:1], *spread[:-1]]) + f" {incomplete}"


def _spread(words: list[str], incomplete: str) -> list[str]:
    """The words with the unfinished one last, which may be empty."""
    return spread_tags([*words, incomplete])
