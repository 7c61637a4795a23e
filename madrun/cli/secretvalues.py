"""What no file of a run may show: values of secrets, by the names under which a plan refers to them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from madrun.errors import CardError, ContextError, UsageError
from madrun.probe import environment
from madrun.registry.mad import credentials
from madrun.registry.mad.tools import Stack
from madrun.spec.card import Card
from madrun.spec.context import Context, holding, is_secret
from madrun.spec.facts import HostFacts

_NOTHING = Stack()


def secrets_of(
    card: Card, context: Context, facts: HostFacts, stack: Stack = _NOTHING
) -> tuple[dict[str, str], dict[str, str]]:
    """Variables that reach the script, and arguments that reach the build alone.

    Variables are the secret names of the context, MAD_SECRETS* of this host, what credential.json has for the card, and
    what holds the value of one of them. `stack`: what is put around the script.
    """
    named = environment.forwarded_secrets() | _credentials(card) | _secret(context.docker_env_vars)
    variables = holding(context.docker_env_vars, named) | named
    source = card.images.get(facts.accelerator.vendor)
    every = {**(source.args if source else {}), **context.docker_build_arg}
    arguments = _secret(every)
    words = _words(card, context, stack)
    texts = {name: every[name] for name in every.keys() - arguments.keys()} | words
    for name in holding(texts, {key: value for key, value in (named | arguments).items() if not _is_known(key)}):
        where = name if name in words else f"docker_build_arg.{name}"
        hint = "write $NAME, which the shell beside the script expands" if name in words else "give the secret itself"
        raise ContextError(f"{where}: found the value of a secret in it, which files would show; {hint}")
    for name, value in arguments.items():
        if variables.get(name, value) != value:
            raise ContextError(
                f"docker_build_arg.{name}: found another value than the variable {name} has; "
                "allowed: one value for one secret's name"
            )
    return variables, arguments


def _is_known(name: str) -> bool:
    """Of a login what is no secret, and stands in paths and addresses by right."""
    return name.upper().endswith(("USERNAME", "_USER", "HOST", "_PORT", "ENDPOINT", "_URL"))


def _words(card: Card, context: Context, stack: Stack) -> dict[str, str]:
    """What files of the run show as it is written, by what it is."""
    steps = {"pre_scripts": stack.pre, "post_scripts": stack.post}
    words = {
        "args": f"{card.args} {context.model_args or ''} {' '.join(context.more_args)}",
        "encapsulate_script or cmd of a tool": stack.front,
        "additional_docker_run_options": context.additional_docker_run_options or "",
        **{name: " ".join(step.args for step in many) for name, many in steps.items()},
    }
    return {name: text for name, text in words.items() if text.strip()}


def _credentials(card: Card) -> dict[str, str]:
    """`<cred>_<KEY>` of a card of a MAD repository that names an entry of credential.json."""
    if card.mad is None or not card.mad.cred:
        return {}
    try:
        return credentials.read(Path(card.repository), os.environ).variables(card.mad.cred)
    except UsageError as error:
        raise CardError(f"{card.source}: {card.name}: cred: {error}") from None


def _secret(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if is_secret(name)}
