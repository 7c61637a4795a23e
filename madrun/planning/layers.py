"""The layers of configuration, merged and validated; every final value knows where it came from."""

from __future__ import annotations

import ast
import copy
import json
import posixpath
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from madrun.errors import ContextError
from madrun.planning.mad.distributed import MAD_RUNNER
from madrun.planning.mad.layering import card_values
from madrun.spec.card import Card
from madrun.spec.context import (
    DROPPABLE,
    Context,
    Layer,
    MultiNodeArgs,
    Origin,
    args_problem,
    can_be_passed,
    variable_problem,
)
from madrun.spec.mad import MadContext
from madrun.spec.plan import BOX
from madrun.spec.validation import Invalid, did_you_mean, validate
from madrun.units import parse_duration, parse_size

SIZES = ("collect_limit", "shm_size")
TRUTHS = (
    "local_data",
    "check_reach",
    "gen_sys_env_details",
    "skip_perf_collection",
    "log_error_pattern_scan",
    "live_output",
    "shared_data",
    "monitor",
    "cleanup_on_failure",
    "debug",
    "numa_balancing",
)
DURATIONS = ("timeout", "grace", "join_timeout", "stall_timeout")


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
    return Layer(f"card {card.name}", values | card_values(card))


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
    of_mad = [field.name for field in fields(MadContext)]
    names = [*(field.name for field in fields(Context) if field.name not in of_mad), *of_mad]
    known = _drop_unknown(values, names, layer, "", warnings)
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


def resolve(layers: list[Layer], mad: bool = False) -> tuple[Context, list[Origin], list[str]]:
    """The context that the layers mean; `ContextError` lists every wrong value with its layer and key.

    `mad`: for a card of a MAD repository, whose arguments are the business of the shell in the container, and which
    may be given a runner of its own.
    """
    merged, origins, warnings = merge(layers)
    _refuse_truth_values(merged, origins)
    try:
        context = validate(Context, merged, strict=False)
    except Invalid as invalid:
        texts = [f"{_layer_of(problem.key, origins)}: {problem.key}: {problem.text}" for problem in invalid.problems]
        raise ContextError("\n".join(texts)) from None
    _check_values(context, origins, mad)
    return context, origins, warnings


def _layer_of(key: str, origins: list[Origin]) -> str:
    return next((o.said[-1][0] for o in origins if o.key == key or o.key.startswith(key + ".")), "context")


def _refuse_truth_values(merged: dict[str, Any], origins: list[Origin]) -> None:
    """Only what is yes or no is a truth value; validation would take True for the number 1 elsewhere."""
    nested = merged.get("multi_node_args")
    inner = nested.items() if isinstance(nested, dict) else ()
    for key, value in (*merged.items(), *((f"multi_node_args.{name}", value) for name, value in inner)):
        if isinstance(value, bool) and key not in TRUTHS:
            raise _wrong(key, f"found {value} (bool), allowed: a number or text", origins)


def _wrong(key: str, text: str, origins: list[Origin]) -> ContextError:
    layer = _layer_of(key, origins)
    place = layer if layer == f"--{key.replace('_', '-')}" else f"{layer}: {key}"
    return ContextError(f"{place}: {text}")


def _check_values(context: Context, origins: list[Origin], mad: bool) -> None:
    for name in DURATIONS:
        value = getattr(context, name)
        try:
            _ = value if value is None else parse_duration(value)
        except ValueError as error:
            raise _wrong(name, str(error), origins) from None
    for name in SIZES:
        value = getattr(context, name)
        try:
            size = None if value is None else parse_size(value)
        except ValueError as error:
            raise _wrong(name, str(error), origins) from None
        if size == 0 and name != "collect_limit":
            raise _wrong(name, f"found {value!r}, allowed: more than 0 bytes", origins)
    for key, texts in (("model_args", (context.model_args or "",)), ("more_args", context.more_args)):
        for problem in filter(None, (args_problem(text, mad) for text in texts)):
            raise _wrong(key, problem, origins)
    for name, value in context.docker_env_vars.items():
        problem = "" if mad and name == MAD_RUNNER else variable_problem(name, value)
        if problem:
            raise _wrong(f"docker_env_vars.{name}", problem, origins)
    _check_drops(context, origins)
    _check_build_args(context, origins)
    _check_mounts(context, origins)


def _check_drops(context: Context, origins: list[Origin]) -> None:
    for name in context.docker_drop:
        if name not in DROPPABLE:
            hint = did_you_mean(name, DROPPABLE)
            raise _wrong("docker_drop", f"found {name!r}{hint}, allowed: a list of {', '.join(DROPPABLE)}", origins)


def _check_build_args(context: Context, origins: list[Origin]) -> None:
    for name, value in context.docker_build_arg.items():
        key = f"docker_build_arg.{name}"
        if not can_be_passed(name + value):
            raise _wrong(key, "found what is no text without NUL; allowed: text without NUL", origins)


def _check_mounts(context: Context, origins: list[Origin]) -> None:
    for target, source in context.docker_mounts.items():
        where = _layer_of(f"docker_mounts.{target}", origins)
        if not target.startswith("/") or not source.startswith("/"):
            raise ContextError(
                f"{where}: docker_mounts: found {{{target!r}: {source!r}}}, allowed: {{absolute path in the "
                "container: absolute path on the host, with :ro at its end where it is read only}"
            )
        inside = posixpath.normpath("/" + target.lstrip("/"))
        if inside in ("/", BOX) or inside.startswith(BOX + "/"):
            raise ContextError(
                f"{where}: docker_mounts: found {target!r}, which is the place of madrun's own files or the whole "
                f"container; allowed: a path that is neither / nor {BOX} nor below it"
            )
