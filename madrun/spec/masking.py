"""Commands and lines as they may be shown: without the values of secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

MASK = "***"
_SHORT = 3


def without_secrets(command: tuple[str, ...], secrets: Mapping[str, str]) -> tuple[str, ...]:
    """The words with every secret's value masked, also as JSON or a Python literal spell it."""
    forms = {form for value in secrets.values() for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):  # one may be the beginning of another
        # A short one is masked only where it stands alone: `x` is no secret inside of `--additional-context`.
        pattern = re.escape(form) if len(form) > _SHORT else rf"(?<![\w-]){re.escape(form)}(?![\w-])"
        command = tuple(re.sub(pattern, MASK, word) for word in command)
    return command


def _forms(value: str) -> set[str]:
    spelled = {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    return {form for form in spelled if form}
