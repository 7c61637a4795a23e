"""Untyped data in, a frozen dataclass or a list of problems out; pydantic does the checking."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong place: the path of keys to it, and a sentence that says what is found and what is allowed."""

    path: tuple[str | int, ...]
    text: str

    @property
    def key(self) -> str:
        """The path as a user would write it: `metrics.tok.unit`."""
        return ".".join(str(part) for part in self.path)


class Invalid(Exception):
    """Raised by `validate`; holds every problem, not only the first."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{problem.key}: {problem.text}" for problem in problems))
        self.problems = problems


# Lower, and words that share three letters count as near: `plain` for `mpirun`.
_NEAR = 0.6


def nearest(word: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """The candidates most like `word`, best first; may be empty."""
    import difflib

    by_lower = {candidate.lower(): candidate for candidate in candidates}
    return [by_lower[match] for match in difflib.get_close_matches(word.lower(), by_lower, count, _NEAR)]


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing where nothing is near."""
    near = nearest(word, candidates, 1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def validate(target: type[T], data: object, *, strict: bool) -> T:
    """`data` as a `target`; strict refuses `"3"` for a number, else it is coerced. Raises `Invalid`."""
    from pydantic import ValidationError

    adapter = _adapter(cast(Hashable, target))
    try:
        if strict:
            checked: T = adapter.validate_json(_as_json(data), strict=True)
        else:
            checked = adapter.validate_python(data)
        return checked
    except ValidationError as error:
        problems = [_problem(target, data, dict(detail)) for detail in error.errors(include_url=False)]
        raise Invalid(_joined(problems)) from None


def _as_json(data: object) -> str:
    try:
        return json.dumps(data, default=_not_plain)
    except (TypeError, ValueError) as error:
        raise Invalid([Problem((), f"holds what is no text, number, list or map of names: {error}")]) from None


def _joined(problems: list[Problem]) -> list[Problem]:
    """One problem a place: of a value that may be of several types, every allowed type in one sentence."""
    by_path: dict[tuple[str | int, ...], str] = {}
    for problem in problems:
        head, allowed, tail = problem.text.partition(", allowed: ")
        before = by_path.get(problem.path)
        if before is None:
            by_path[problem.path] = problem.text
        elif allowed and before.startswith(head + allowed):
            by_path[problem.path] = f"{before} or {tail}"
    return [Problem(path, text) for path, text in by_path.items()]


@cache
def _adapter(target: Hashable) -> Any:
    """Making one costs more than a thousand validations with it."""
    from pydantic import TypeAdapter

    return TypeAdapter(cast(Any, target))


def _not_plain(value: object) -> str:
    """YAML knows dates and sets; what a card holds is text, numbers, lists and maps."""
    return str(value)


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a map of names to values",
    "dataclass_type": "a map of names to values",
}


def _problem(target: type[Any], data: object, detail: dict[str, Any]) -> Problem:
    missing = detail["type"] in ("missing", "missing_argument")
    path = _path_in(data, tuple(detail["loc"]), missing)
    kind, context, found = detail["type"], detail.get("ctx", {}), detail.get("input")
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        names = _field_names(target, path[:-1])
        return Problem(path, f"unknown key{did_you_mean(str(path[-1]), names)}; allowed: {', '.join(names)}")
    if missing:
        return Problem(path, "is missing and has no default")
    if kind == "literal_error":
        return Problem(path, f"found {_show(found)}, allowed: {context['expected']}")
    if kind in ("greater_than_equal", "less_than_equal"):
        sign, bound = (">=", context.get("ge")) if "ge" in context else ("<=", context.get("le"))
        return Problem(path, f"found {_show(found)}, allowed: a number {sign} {bound}")
    if kind in _EXPECTED:
        return Problem(path, f"found {_show(found)}, allowed: {_EXPECTED[kind]}")
    return Problem(path, f"found {_show(found)}: {detail['msg']}")


def _path_in(data: object, location: tuple[str | int, ...], missing: bool) -> tuple[str | int, ...]:
    """The location without the names of the types that were tried, which are no keys of the data."""
    path: list[str | int] = []
    inside: Any = data
    for part in location:
        try:
            inside = inside[part]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(part)
    return (*path, location[-1]) if missing else tuple(path)


def _show(value: object) -> str:
    text = repr(value)
    shown = text if len(text) <= 80 else text[:77] + "..."
    return f"{shown} ({type(value).__name__})"


def _field_names(target: type[Any], path: tuple[str | int, ...]) -> list[str]:
    """Names allowed at `path`: walks dataclass fields, and through the values of maps."""
    import typing

    current: Any = target
    for part in path:
        hints = typing.get_type_hints(current) if hasattr(current, "__dataclass_fields__") else {}
        current = hints.get(str(part), current) if hints else current
        arguments = [arg for arg in typing.get_args(current) if hasattr(arg, "__dataclass_fields__")]
        current = arguments[-1] if arguments else current
    if hasattr(current, "__dataclass_fields__"):
        return [field.name for field in fields(current)]
    return []
