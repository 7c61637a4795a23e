"""The layers of configuration, merged and validated; every final value knows where it came from."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from madrun.errors import ContextError
from madrun.spec.card import Card
from madrun.spec.context import Context, Layer, MultiNodeArgs, Origin
from madrun.spec.validation import Invalid, did_you_mean, validate
from madrun.units import parse_duration, parse_size

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DURATIONS = ("timeout", "grace", "join_timeout")


def parse_text(text: str, layer: str) -> dict[str, Any]:
    """A map written as JSON or as a Python literal; `ContextError` says where it stops being either."""
    try:
        return _as_map(json.loads(text), layer)
    except (ValueError, RecursionError):
        pass  # a Python literal, as most users write it, or neither: then its error says more
    try:
        return _as_map(ast.literal_eval(text.strip()), layer)
    except _NO_LITERAL as error:
        place = _place(text.strip(), error)
        near = repr(text.strip()[max(0, place - 20) : place + 20])
        raise ContextError(
            f"{layer}: neither JSON nor a Python literal, near character {place + 1}: {near}; allowed: a map such as "
            "\"{'docker_env_vars': {'NCCL_DEBUG': 'INFO'}}\" in double quotes of the shell"
        ) from None


# What ast.literal_eval raises for text that is no literal; SystemError is that of a text nested too deeply.
_NO_LITERAL = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, SystemError)


def _place(text: str, error: BaseException) -> int:
    """Where in the text the error is, from 0; the start where the error does not say."""
    if not isinstance(error, SyntaxError) or not error.lineno or not error.offset:
        return 0
    line, column = error.lineno, error.offset
    before = sum(len(earlier) for earlier in text.splitlines(keepends=True)[: line - 1])
    return min(before + column - 1, len(text))


def _as_map(value: object, layer: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ContextError(f"{layer}: found {type(value).__name__}, allowed: a map of names to values")
    return value


def card_layer(card: Card) -> Layer:
    """What the card itself says, between the site file and the user's own words."""
    values: dict[str, Any] = {}
    if card.env:
        values["docker_env_vars"] = dict(card.env)
    if card.timeout_s is not None:
        values["timeout"] = card.timeout_s
    if card.runner is not None:
        values["multi_node_args"] = {"RUNNER": card.runner}
    return Layer(f"card {card.name}", values)


def merge(layers: Iterable[Layer]) -> tuple[dict[str, Any], list[Origin], list[str]]:
    """Deep merge, lowest layer first: the merged map, the origins of its leaves, warnings of unknown keys."""
    merged: dict[str, Any] = {}
    said: dict[tuple[str, ...], list[tuple[str, Any]]] = {}
    warnings: list[str] = []
    for layer in layers:
        known = _known_keys(_as_map(layer.values, layer.name), layer.name, warnings)
        _merge_into(merged, known, layer.name, (), said)
    origins = [Origin(".".join(path), tuple(entries)) for path, entries in sorted(said.items())]
    return merged, origins, warnings


def _known_keys(values: dict[str, Any], layer: str, warnings: list[str]) -> dict[str, Any]:
    known = _drop_unknown(values, [field.name for field in fields(Context)], layer, "", warnings)
    nested = known.get("multi_node_args")
    if isinstance(nested, dict):
        names = [field.name for field in fields(MultiNodeArgs)]
        known["multi_node_args"] = _drop_unknown(nested, names, layer, "multi_node_args.", warnings)
    return known


def _drop_unknown(
    values: dict[str, Any], names: list[str], layer: str, prefix: str, warnings: list[str]
) -> dict[str, Any]:
    for key in values:
        if key not in names:
            hint = did_you_mean(str(key), names) or f"; known: {', '.join(names)}"
            warnings.append(f"{layer}: unknown key {prefix}{key} has no effect{hint}")
    return {key: value for key, value in values.items() if key in names}


def _merge_into(
    target: dict[str, Any],
    values: dict[str, Any],
    layer: str,
    path: tuple[str, ...],
    said: dict[tuple[str, ...], list[tuple[str, Any]]],
) -> None:
    for key, value in values.items():
        place = (*path, str(key))
        if isinstance(value, dict) and isinstance(target.get(key, {}), dict):
            _merge_into(target.setdefault(key, {}), value, layer, place, said)
        else:
            target[key] = copy.deepcopy(value)
            said.setdefault(place, []).append((layer, value))


def resolve(layers: list[Layer]) -> tuple[Context, list[Origin], list[str]]:
    """The context that the layers mean; `ContextError` lists every wrong value with its layer and key."""
    merged, origins, warnings = merge(layers)
    try:
        context = validate(Context, merged, strict=False)
    except Invalid as invalid:
        texts = [f"{_layer_of(problem.key, origins)}: {problem.key}: {problem.text}" for problem in invalid.problems]
        raise ContextError("\n".join(texts)) from None
    _check_values(context, origins)
    return context, origins, warnings


def _layer_of(key: str, origins: list[Origin]) -> str:
    return next((o.said[-1][0] for o in origins if o.key == key or o.key.startswith(key + ".")), "context")


def _can_be_passed(text: str) -> bool:
    """Whether the text can be a variable of a process: no NUL, and Unicode that has an encoding."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _check_values(context: Context, origins: list[Origin]) -> None:
    for name in DURATIONS:
        value = getattr(context, name)
        try:
            _ = value if value is None else parse_duration(value)
        except ValueError as error:
            raise ContextError(f"{_layer_of(name, origins)}: {name}: {error}") from None
    try:
        _ = context.shm_size if context.shm_size is None else parse_size(context.shm_size)
    except ValueError as error:
        raise ContextError(f"{_layer_of('shm_size', origins)}: shm_size: {error}") from None
    for name, value in context.docker_env_vars.items():
        if not _can_be_passed(value):
            where = _layer_of(f"docker_env_vars.{name}", origins)
            raise ContextError(f"{where}: docker_env_vars.{name}: found {value[:40]!r}, allowed: text without NUL")
        if not _NAME.fullmatch(name):
            where = _layer_of(f"docker_env_vars.{name}", origins)
            raise ContextError(
                f"{where}: docker_env_vars: found {name!r}, allowed: a variable's name (letters, digits, '_')"
            )
    for target, source in context.docker_mounts.items():
        where = _layer_of(f"docker_mounts.{target}", origins)
        if not target.startswith("/") or not source.startswith("/"):
            raise ContextError(
                f"{where}: docker_mounts: found {{{target!r}: {source!r}}}, "
                "allowed: {absolute path in the container: absolute path on the host}"
            )
