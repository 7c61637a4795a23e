"""References to values of secrets: what stands in a launch's words and files, and what it means on a node.

A secret's value goes to the nodes as a variable of the launch's private file, as JSON; in its place stands the name of
that variable, which the layers of the context on a node are read with.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from madrun.errors import ContextError
from madrun.spec.launch import PRIVATE

_REFERENCE = re.compile(r"MADRUN_SECRET_[1-9][0-9]*")
_DEEPEST = 32


def reference(number: int) -> str:
    """`MADRUN_SECRET_1`; madrun's tables take it for the name of a secret, as it is."""
    return f"MADRUN_SECRET_{number}"


def is_reference(text: str) -> bool:
    """Whether this is one."""
    return _REFERENCE.fullmatch(text) is not None


def value_of(text: str) -> str:
    """What a variable of the private file means, as text."""
    value = json.loads(text)
    return value if isinstance(value, str) else json.dumps(value)


def put_back(values: Any, source: str, env: Mapping[str, str] = os.environ) -> Any:
    """The same with the value of every reference; what holds none is returned as it is.

    `ContextError` where a value is not in the environment: only the script of a node puts it there.
    """

    def one(_names: tuple[str, ...], leaf: Any) -> Any:
        if not isinstance(leaf, str) or not is_reference(leaf):
            return leaf
        try:
            return json.loads(env[leaf])
        except (KeyError, ValueError):
            raise ContextError(
                f"{source}: found {leaf}, which stands for a secret of a launch; its value is in the launch's "
                f"{PRIVATE} alone: write the value, or read that file first (. {PRIVATE})"
            ) from None

    return each_leaf(values, one)


def each_leaf(value: Any, change: Callable[[tuple[str, ...], Any], Any], names: tuple[str, ...] = ()) -> Any:
    """The same with every leaf changed; `names`: the keys of the maps in which it stands, the innermost last.

    The very same object where no leaf becomes another, so that a text that was read need not be written anew. An entry
    of a list has an empty name. What is nested too deeply to be a context (an alias of YAML in itself) is left alone.
    """
    if len(names) > _DEEPEST:
        return value
    if isinstance(value, dict):
        found = {key: each_leaf(one, change, (*names, str(key))) for key, one in value.items()}
        return found if any(found[key] is not value[key] for key in value) else value
    if isinstance(value, list):
        changed = [each_leaf(one, change, (*names, "")) for one in value]
        return changed if any(new is not old for new, old in zip(changed, value, strict=True)) else value
    return change(names, value)
