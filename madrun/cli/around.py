"""What the context, tools and madrun itself put around the script of a card of a MAD repository."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from madrun.errors import CardError
from madrun.planning.job import arguments_of
from madrun.probe.environment import user_folder
from madrun.registry.cardtree import tree_hash
from madrun.registry.mad.tools import Stack, stacked, tools_file
from madrun.spec.card import Card
from madrun.spec.context import Context, Origin
from madrun.spec.mad import Around, Entry

Said = tuple[Context, list[Origin], list[str]]
_DIRECTORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_PASSWORD = re.compile(r"[a-z+]+://[^/@]*:[^/@]+@|https?://[^/@]{20,}@")  # a token can stand where the name does
_OWN_KEYS = ("tools", "pre_scripts", "post_scripts", "encapsulate_script")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where a script runs: what is run around it, files that are added to its own, what lies beside it, the cache.

    `common`: hash of what the card's files use of scripts/common.
    """

    around: Around = Around()
    placed: dict[str, Path] = field(default_factory=dict)
    checkout: tuple[Entry, ...] = ()
    cache: str = ""
    common: str = ""
    notes: tuple[str, ...] = ()


def with_tools(card: Card, said: Said, tools_config: str | None) -> tuple[Said, Stack]:
    """The context with the variables of its tools, which stand below docker_env_vars; and all that is stacked."""
    context, origins, warnings = said
    if card.mad is None:
        unused = [key for key in _OWN_KEYS if getattr(context, key)]
        more = [f"{key} has no effect on {card.name}, which is no card of a MAD repository" for key in unused]
        return (context, origins, [*warnings, *more]), Stack()
    base = Stack(pre=context.pre_scripts, post=context.post_scripts, front=context.encapsulate_script or "")
    if not context.tools and tools_config is None:
        return said, base
    stack = stacked(base, context.tools, tools_file(Path(card.repository), tools_config))
    known = {origin.key: origin for origin in origins}
    for name, value in stack.env.items():
        key = f"docker_env_vars.{name}"
        above = known[key].said if key in known else ()
        known[key] = Origin(key, ((stack.origins[name], value), *above))
    context = replace(context, docker_env_vars={**stack.env, **context.docker_env_vars})
    return (context, list(known.values()), [*warnings, *stack.warnings]), stack


def scene_of(card: Card, context: Context, stack: Stack, files: dict[str, Path], in_container: bool) -> Scene:
    """The scene of a card of a MAD repository, whose own files are `files`; nothing of it for a native card."""
    if card.mad is None:
        return Scene()
    from madrun.registry.mad.checkout import surroundings
    from madrun.registry.mad.steps import around_of

    _check_url(card)
    around, placed = around_of(stack, Path(card.repository), card.mad.directory, files)
    copied = context.checkout == "copy"
    beside = surroundings(card, {**files, **placed}, copied, in_container and not copied)
    notes = []
    if beside.stale:
        names = ", ".join(beside.stale[:5]) + (f" and {len(beside.stale) - 5} more" if len(beside.stale) > 5 else "")
        notes.append(f"left out of the workspace, as results of earlier runs: {names}")
    if not in_container and not copied:
        notes.append(
            "runtime process: the script finds the checkout's folders as links, and what it writes into them lands in "
            "the checkout; context checkout: copy gives it copies"
        )
    return Scene(
        around=around,
        placed=placed,
        checkout=beside.entries,
        cache=cache_folder(),
        common=common_hash({**files, **placed}, arguments_of(card, context), Path(card.repository)),
        notes=tuple(notes),
    )


def common_hash(files: dict[str, Path], args: str, repository: Path) -> str:
    """Hash of what these files and arguments name of scripts/common; empty where they name nothing."""
    from madrun.registry.mad.steps import used_of_common

    used = used_of_common(files, (args,), repository)
    return tree_hash(used) if used else ""


def _check_url(card: Card) -> None:
    """`CardError` for an address that names no directory, or that a plan may not show."""
    assert card.mad is not None
    url, directory = card.mad.url, card.mad.directory
    if not _DIRECTORY.fullmatch(directory):
        raise CardError(f"{card.source}: {card.name}: url: found {url!r}, allowed: one that ends with a name")
    if _PASSWORD.match(url):
        raise CardError(
            f"{card.source}: {card.name}: url holds a password or token, which files of the run would show; put "
            "username and password into credential.json and name that entry with cred"
        )


def cache_folder() -> str:
    """Where all runs of this user keep the models that their scripts download."""
    return str(user_folder("cache") / "models")
