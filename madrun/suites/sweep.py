"""The grammar of sweeps: one key of the context with many values, and the cross product of several."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from madrun.errors import UsageError
from madrun.spec.context import Context, MultiNodeArgs
from madrun.spec.validation import did_you_mean

FLAG = "--sweep"
NNODES = "multi_node_args.NNODES"
ALIASES = {"nnodes": NNODES, "nproc_per_node": "multi_node_args.NPROC_PER_NODE", "runner": "multi_node_args.RUNNER"}
_QUOTES = "'\""
_NESTED = "multi_node_args"


@dataclass(frozen=True, slots=True)
class Axis:
    """One key and the values that it takes in turn, each a text as `--set KEY=TEXT` reads it.

    `key` is that of the context, `name` what the user called it.
    """

    name: str
    key: str
    values: tuple[str, ...]


def read_axis(word: str) -> Axis:
    """`nnodes=1,2,4`, `model_args="--bs 1,--bs 2"` or `timeout=[90s, 2h]`; `UsageError` for what is none of them."""
    name, given, text = word.partition("=")
    name = name.strip()
    if not given or not name or not text.strip():
        raise UsageError(f"{FLAG}: found {word!r}, allowed: KEY=VALUE,VALUE or KEY=[VALUE, VALUE]")
    return make_axis(name, _values(text.strip(), f"{FLAG} {name}"), f"{FLAG} {name}")


def make_axis(name: str, values: Iterable[str], where: str) -> Axis:
    """The axis of these texts; `UsageError` begins with `where`: no value, one twice, a wrong number of nodes."""
    found = tuple(values)
    if not found:
        raise UsageError(f"{where}: found no values, allowed: at least one")
    twice = next((text for index, text in enumerate(found) if text in found[:index]), None)
    if twice is not None:
        raise UsageError(
            f"{where}: found {twice!r} twice, allowed: each value once; repeat says how often a case is run"
        )
    key = ALIASES.get(name, name)
    if key == NNODES:
        wrong = next((text for text in found if not text.isascii() or not text.isdecimal() or int(text) < 1), None)
        if wrong is not None:
            raise UsageError(f"{where}: found {wrong!r}, allowed: whole numbers from 1")
        found = tuple(str(int(text)) for text in found)
    return Axis(name, key, found)


def key_problem(key: str) -> str:
    """Why no context has such a key, with the nearest that it has; empty for one that it has."""
    first, _, rest = key.partition(".")
    known = [field.name for field in fields(Context)]
    if first not in known:
        return f"unknown key {key}{did_you_mean(first, [*known, *ALIASES])}; madrun explain prints those that there are"
    inner = [field.name for field in fields(MultiNodeArgs)]
    if first == _NESTED and rest and rest not in inner:
        return f"unknown key {key}{did_you_mean(rest, inner)}; allowed: {', '.join(inner)}"
    return ""


def check_axes(axes: Iterable[Axis], where: str) -> None:
    """`UsageError` where two of them are one key."""
    seen: dict[str, str] = {}
    for axis in axes:
        if axis.key in seen:
            raise UsageError(
                f"{where}: found {seen[axis.key]} and {axis.name}, which are one key; allowed: each key once"
            )
        seen[axis.key] = axis.name


def points(axes: Iterable[Axis]) -> list[tuple[tuple[Axis, str], ...]]:
    """Every combination of the values, the last axis fastest; one empty point where there is no axis."""
    return list(itertools.product(*([(axis, text) for text in axis.values] for axis in axes)))


def text_of(value: Any) -> str:
    """A value out of a YAML file as a text that reads as this value again: plain, or else as JSON has it."""
    if isinstance(value, str) and _reads_as(value) == value:
        return value
    text = json.dumps(value, ensure_ascii=False, default=str)
    return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in text)


def _reads_as(text: str) -> Any:
    """What `--set` makes of it; None where that is no text."""
    import yaml

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return None
    return found if isinstance(found, str) else None


def _values(text: str, where: str) -> list[str]:
    if text.startswith("["):
        import yaml

        try:
            found = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            found = None
        if isinstance(found, list):
            return [text_of(value) for value in found]
    return [_bare(part, where) for part in _split(text, where)]


def _split(text: str, where: str) -> list[str]:
    """At the commas that stand outside of quotes; a quote opens where a word begins."""
    parts, quote, before = [""], "", ""
    for letter in text:
        if letter == "," and not quote:
            parts.append("")
            before = ""
            continue
        if quote and letter == quote:
            quote = ""
        elif not quote and letter in _QUOTES and (not before or before.isspace() or before == "="):
            quote = letter
        parts[-1] += letter
        before = letter
    if quote:
        raise UsageError(f"{where}: found {text!r}, where a quote {quote} is not closed; close it")
    return [part.strip() for part in parts]


def _bare(part: str, where: str) -> str:
    """One value; quotes around the whole of it are taken away, and what was in them is a text."""
    if not part:
        raise UsageError(f"{where}: found an empty value; allowed: KEY=VALUE,VALUE (one that is empty as '')")
    if len(part) > 1 and part[0] in _QUOTES and part.find(part[0], 1) == len(part) - 1:
        return text_of(part[1:-1])
    return part
