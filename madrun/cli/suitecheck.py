"""Every case of a suite as far as this host can see, before the first one begins; all faults are told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from madrun.cli.layers import set_values, user_layers
from madrun.cli.options import RunOptions
from madrun.cli.request import Request
from madrun.errors import ContextError, MadrunError, UsageError
from madrun.planning.layers import parse_text
from madrun.registry.catalogue import Catalogue
from madrun.registry.selection import choose_cards
from madrun.registry.tags import split_tags
from madrun.spec.card import Card
from madrun.spec.context import Layer, is_secret
from madrun.suites.expand import ENV_MAPS, Content

if TYPE_CHECKING:
    from madrun.cli.suitewords import Typed

Where = Callable[[Content], str]  # how an error about a case begins
_MOST_TOLD = 5  # numbers of the further cases with one fault


@dataclass(frozen=True, slots=True)
class Here:
    """What all cases have in common: the request without what is a case's own, the repository, its cards."""

    request: Request
    repository: Path
    catalogue: Catalogue


class Look(Protocol):
    """Looks at one case after the other; what is the same for many is looked at once."""

    def case(self, content: Content, cards: Sequence[Card], own: list[Layer]) -> int | None:
        """The number of nodes that its layers say, None where they say none; raises what is wrong with it.

        `own`: the layers that are this case's alone, lowest first.
        """

    def together(self) -> None:
        """Raises what is wrong with all of them, where none is wrong by itself."""

    def close(self) -> None:
        """Gives back what looking has taken."""


def checked(
    contents: tuple[Content, ...], typed: Typed, here: Here, where: Where, wrong: Sequence[MadrunError]
) -> tuple[Content, ...]:
    """The cases, each with the number of nodes that is said for it, wherever; else one error with all that is wrong.

    `wrong`: faults that were found already. The error is a `ContextError` where the first is one, else a `UsageError`.
    """
    faults = _Faults(len(contents), where, list(wrong))
    look, layers, cards = _look(typed, here), _Layers(here.request), _Cards(here.catalogue)
    known: list[Content] = []
    try:
        for number, content in enumerate(contents, 1):
            try:
                said = look.case(content, cards.of(content.tags), layers.of(content))
                known.append(replace(content, nnodes=content.nnodes or said))
            except MadrunError as error:
                faults.add(number, content, error)
        faults.tell()
        look.together()
    finally:
        look.close()
    return tuple(known)


def _look(typed: Typed, here: Here) -> Look:
    if typed.backend:
        from madrun.cli.suitesettings import Launches

        return Launches(typed, here)
    from madrun.cli.suiteplans import Plans

    return Plans(here)


@dataclass(slots=True)
class _Cards:
    """The cards of each selection; an unknown one is as wrong in every case."""

    catalogue: Catalogue
    found: dict[tuple[str, ...], list[Card]] = field(default_factory=dict)

    def of(self, tags: tuple[str, ...]) -> list[Card]:
        if not tags:
            raise UsageError("found no tags; allowed: names or tags of cards, here or by --tags for all")
        if tags not in self.found:
            self.found[tags] = choose_cards(self.catalogue, split_tags(tags))
        return self.found[tags]


@dataclass(slots=True)
class _Layers:
    """What each case says for itself; a text that many of them have is read once."""

    request: Request
    read: dict[str, Layer] = field(default_factory=dict)

    def of(self, content: Content) -> list[Layer]:
        """`UsageError` where one holds a secret's value, `ContextError` for what cannot be read."""
        own: list[Layer] = []
        if content.env or content.args:
            own += user_layers(replace(self.request, **_NOTHING, env=content.env, arg=content.args))
        own += map(self._said, content.sets)
        return own if content.timeout is None else [*own, Layer("--timeout", {"timeout": content.timeout})]

    def _said(self, word: str) -> Layer:
        if word not in self.read:
            layer = Layer("--set", set_values(word, "--set"))
            refuse_secret(name for name in _variables(layer.values) if is_secret(name))
            self.read[word] = layer
        return self.read[word]


# A request of which only what a case says is left.
_NOTHING: dict[str, Any] = {
    **{"additional_context": None, "additional_context_file": None},
    **{"mount": (), "set_key": (), "flags": {}},
}


@dataclass(slots=True)
class _Faults:
    """What is wrong, each once with all the cases that have it."""

    total: int
    where: Where
    texts: list[MadrunError]
    cases: dict[str, list[int]] = field(default_factory=dict)
    first: dict[str, tuple[Content, MadrunError]] = field(default_factory=dict)

    def add(self, number: int, content: Content, error: MadrunError) -> None:
        """One more; cases are numbered from 1."""
        self.cases.setdefault(str(error), []).append(number)
        self.first.setdefault(str(error), (content, error))

    def tell(self) -> None:
        """Raises what has been found, if anything."""
        found = [str(error) for error in self.texts]
        for text, (content, _) in self.first.items():
            found.append(f"{self.where(content)}: {content.name} ({self._which(self.cases[text])}): {text}")
        if not found:
            return
        errors = [*self.texts, *(error for _, error in self.first.values())]
        kind = ContextError if isinstance(errors[0], ContextError) else UsageError
        head = f"found {len(found)} faults, and no case was begun:\n" if len(found) > 1 else ""
        raise kind(head + "\n".join(found))

    def _which(self, numbers: list[int]) -> str:
        """`case 3 of 9`, and which others have the same fault."""
        first, *others = numbers
        told = f"case {first} of {self.total}"
        if not others:
            return told
        shown = ", ".join(map(str, others[:_MOST_TOLD]))
        rest = f" and {len(others) - _MOST_TOLD} more" if len(others) > _MOST_TOLD else ""
        return f"{told}, and the same in {shown}{rest}"


def refuse_secrets(options: RunOptions) -> None:
    """A suite is written down to be resumed: a secret's value must not be among its words."""
    said = [word.partition("=")[0] for word in options.env or () if "=" in word]
    inline = parse_text(options.additional_context, "--additional-context") if options.additional_context else {}
    refuse_secret(name for name in (*said, *_variables(inline)) if is_secret(name))


def _variables(values: Mapping[str, Any]) -> list[str]:
    """Names of the variables that a context gives a value."""
    maps = [values[key] for key in ENV_MAPS if isinstance(values.get(key), dict)]
    return [str(name) for one in maps for name, value in one.items() if value]


def refuse_secret(names: Iterable[str]) -> None:
    """`UsageError` for the first of these names."""
    for name in names:
        raise UsageError(
            f"found a value of {name}, and a suite is written down whole, to be resumed; allowed: --env {name}, which "
            "takes the value that the environment has"
        )
