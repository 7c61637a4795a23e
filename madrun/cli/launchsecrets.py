"""Values of secret variables, taken out of what was typed: nodes get them from the private file alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from madrun.cli.layers import set_values, user_layers
from madrun.cli.options import RunOptions
from madrun.cli.request import Request
from madrun.planning.layers import parse_text
from madrun.spec.context import Context, is_secret
from madrun.spec.masking import without_secrets

_ENV = "docker_env_vars"
_FILE = "--additional-context-file"
_YAML = (".yaml", ".yml")


def apart(
    options: RunOptions, request: Request, texts: dict[str, str], given: Mapping[str, str]
) -> tuple[RunOptions, dict[str, str]]:
    """The options without values of secret variables, and these values by name; so too the context's file in `texts`.

    Each is named by `--env NAME` instead, which stands above the other words but `--set`, whose value it then is.
    """
    values: dict[str, str] = {}
    for layer in user_layers(request):
        for secret, value in _secrets(layer.values):
            if isinstance(value, str):
                values[secret] = value
            else:  # a number, or null: the last word on it stays where it is
                values.pop(secret, None)
    if not values:
        return options, values
    if (name := given.get(_FILE)) is not None:
        texts[name] = _text_without(texts[name], Path(name).suffix, values)
    inline = options.additional_context
    words = [word for word in options.env or () if word.partition("=")[0] not in values]
    sets = [kept for word in options.set_key or () if (kept := _set_without(word, values))]
    return (
        replace(
            options,
            additional_context=inline and _text_without(inline, "", values),
            env=[*words, *values],
            set_key=sets or None,
        ),
        values,
    )


def masked(command: tuple[str, ...], values: Mapping[str, str], context: Context) -> tuple[str, ...]:
    """What was typed as files may show it: without these values, and without those of secret build arguments."""
    secret = {**context.docker_build_arg, **values}
    return without_secrets(command, {name: value for name, value in secret.items() if is_secret(name)})


def _secrets(context: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    variables = context.get(_ENV)
    for name, value in variables.items() if isinstance(variables, Mapping) else ():
        if isinstance(name, str) and is_secret(name):
            yield name, value


def _without(context: dict[str, Any], values: Mapping[str, str]) -> dict[str, Any]:
    found = dict(_secrets(context)).keys() & values.keys()
    if not found:
        return context
    return context | {_ENV: {name: value for name, value in context[_ENV].items() if name not in found}}


def _text_without(text: str, suffix: str, values: Mapping[str, str]) -> str:
    """As it was written where nothing of it is secret, else in the same notation."""
    if suffix.lower() in _YAML:
        import yaml

        context = yaml.safe_load(text) or {}
        kept = _without(context, values)
        return text if kept is context else yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    context = parse_text(text, _FILE)
    kept = _without(context, values)
    return text if kept is context else repr(kept)


def _set_without(word: str, values: Mapping[str, str]) -> str:
    """Empty where nothing is left of it."""
    context = set_values(word, "--set")
    kept = _without(context, values)
    if kept is context:
        return word
    return f"{_ENV}={json.dumps(kept[_ENV])}" if kept[_ENV] else ""
