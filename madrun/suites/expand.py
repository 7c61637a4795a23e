"""From entries with sweeps to cases: each with the words that tell it from the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from madrun.errors import UsageError
from madrun.spec.context import is_secret
from madrun.suites.file import Entry, Source
from madrun.suites.sweep import ALIASES, NNODES, Axis, check_axes, key_problem, make_axis, points, text_of

_LONGEST = 60  # letters of a value in a case's name
ENV_MAPS = ("docker_env_vars", "docker_build_arg", "env_vars")  # of the context: variables by name


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What one case says. `sets`: texts as `--set` takes them, the lower first. `at`: where in the file."""

    name: str
    at: tuple[str | int, ...] = ()
    tags: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    nnodes: int | None = None
    repeat: int = 1
    timeout: str | None = None


def contents_of(source: Source, common: tuple[str, ...], lenient: bool) -> tuple[tuple[Content, ...], list[UsageError]]:
    """Every case of a suite file, in order, and what is wrong with those that are none, with file and line.

    `common`: texts of the command's own `--set`, between the defaults and each case. `lenient`: whether a card may know
    keys that madrun does not.
    """
    default_nodes, defaults = _context(source.file.defaults, lambda key: source.where("defaults", key), lenient)
    found: list[Content] = []
    wrong: list[UsageError] = []
    for index, entry in enumerate(source.file.cases):
        try:
            base = _base(source, index, entry, lenient)
            base = replace(base, sets=(*defaults, *common, *base.sets), nnodes=base.nnodes or default_nodes)
            found += swept(base, _axes(source, index, entry, lenient), named=entry.name is not None)
        except UsageError as error:
            wrong.append(error)
    return unique(found), [*wrong, *_named_twice(source)]


def swept(base: Content, axes: tuple[Axis, ...], named: bool) -> list[Content]:
    """The case at each point of the cross product; `named`: its name is the user's own, not made of its tags."""
    found = []
    for point in points(axes):
        told = [f"{axis.name}={_short(text)}" for axis, text in point]
        nodes = next((int(text) for axis, text in point if axis.key == NNODES), base.nnodes)
        sets = tuple(f"{axis.key}={text}" for axis, text in point if axis.key != NNODES)
        size = [f"nnodes={nodes}"] if nodes and not named and not any(axis.key == NNODES for axis in axes) else []
        name = " ".join([base.name, *size, *told])
        found.append(replace(base, name=name, sets=(*base.sets, *sets), nnodes=nodes))
    return found


def unique(contents: Iterable[Content]) -> tuple[Content, ...]:
    """The same with a number behind each name that another has already."""
    seen: dict[str, int] = {}
    found = []
    for content in contents:
        seen[content.name] = seen.get(content.name, 0) + 1
        number = seen[content.name]
        found.append(replace(content, name=f"{content.name} #{number}") if number > 1 else content)
    return tuple(found)


def _base(source: Source, index: int, entry: Entry, lenient: bool) -> Content:
    nodes, sets = _context(entry.context, lambda key: source.where("cases", index, "context", key), lenient)
    tags = (entry.tags,) if isinstance(entry.tags, str) else entry.tags or ()
    for text in entry.env:
        name, given, _ = text.partition("=")
        if given and is_secret(name):
            raise _secret(source.where("cases", index, "env"), name)
    if nodes and entry.nnodes:
        raise UsageError(
            f"{source.where('cases', index)}: found nnodes and nnodes in its context; allowed: one of them"
        )
    return Content(
        name=entry.name or ",".join(tags) or "case",
        at=("cases", index),
        tags=tags,
        sets=sets,
        args=(entry.args,) if isinstance(entry.args, str) else entry.args,
        env=entry.env,
        nnodes=entry.nnodes or nodes,
        repeat=entry.repeat,
        timeout=None if entry.timeout is None else str(entry.timeout),
    )


def _context(
    values: Mapping[str, Any], where: Callable[[str], str], lenient: bool
) -> tuple[int | None, tuple[str, ...]]:
    """The number of nodes that it asks for, and the rest as texts."""
    nodes, sets = None, []
    for name, value in values.items():
        key = ALIASES.get(name, name)
        problem = "" if lenient else key_problem(key)
        if value is None or problem:
            raise UsageError(f"{where(name)}: {problem or 'found null, allowed: a value; leave the key out'}")
        for secret in _secrets(name, value):
            raise _secret(where(name), secret)
        if key == NNODES:
            nodes = int(make_axis("nnodes", (text_of(value),), where(name)).values[0])
        else:
            sets.append(f"{key}={text_of(value)}")
    return nodes, tuple(sets)


def _axes(source: Source, index: int, entry: Entry, lenient: bool) -> tuple[Axis, ...]:
    axes: list[Axis] = []
    for name, values in entry.sweep.items():
        problem = "" if lenient else key_problem(ALIASES.get(name, name))
        problem = problem or ("found null, allowed: values" if None in values else "")
        if ALIASES.get(name, name) == NNODES and entry.nnodes:
            problem = "found nnodes here and in the case; allowed: one of them"
        if problem:
            raise UsageError(f"{source.where('cases', index, 'sweep', name)}: {problem}")
        with _at(source, index):
            axes.append(make_axis(name, map(text_of, values), f"sweep.{name}"))
            check_axes(axes, "sweep")
    return tuple(axes)


@contextmanager
def _at(source: Source, index: int) -> Iterator[None]:
    """Lines are looked for where there is an error, not for each of many cases."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{source.where('cases', index)}.{error}") from None


def _secrets(key: str, value: Any) -> list[str]:
    """Names of variables with values that look like secrets: a suite is written down as it is."""
    if key not in ENV_MAPS or not isinstance(value, dict):
        return []
    return [str(name) for name, text in value.items() if is_secret(str(name)) and text]


def _secret(where: str, name: str) -> UsageError:
    return UsageError(
        f"{where}: found a value of {name}, and a suite is written down whole; allowed: env: [{name}], which takes "
        "this host's value"
    )


def _named_twice(source: Source) -> Iterator[UsageError]:
    """Two entries that the user gave one name cannot be told apart by their records."""
    given: dict[str, int] = {}
    for index, entry in enumerate(source.file.cases):
        if entry.name is not None and given.setdefault(entry.name, index) != index:
            first = source.where("cases", given[entry.name], "name")
            yield UsageError(f"{source.where('cases', index, 'name')}: found {entry.name!r} again, first in {first}")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
