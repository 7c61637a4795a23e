"""A backend's part of the context, checked: one way of saying what is wrong for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from madrun.errors import ContextError
from madrun.spec.validation import Invalid, Problem, validate

T = TypeVar("T")


def checked(target: type[T], part: str, values: Mapping[str, Any]) -> T:
    """The settings that these values mean; `ContextError` names every wrong key as it is said, `slurm.time`."""
    try:
        return validate(target, dict(values), strict=False)
    except Invalid as invalid:
        raise wrong(part, invalid.problems) from None


def wrong(part: str, problems: Iterable[Problem]) -> ContextError:
    """The error that lists these problems of a part of the context, a line each."""
    return ContextError("\n".join(f"{part}.{problem.key}: {problem.text}" for problem in problems))
