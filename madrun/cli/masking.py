"""Commands as they may be shown: without the values of secrets."""

from __future__ import annotations

from collections.abc import Mapping

MASK = "***"


def without_secrets(command: tuple[str, ...], secrets: Mapping[str, str]) -> tuple[str, ...]:
    """The words with every secret's value masked."""
    for value in filter(None, secrets.values()):
        command = tuple(word.replace(value, MASK) for word in command)
    return command
