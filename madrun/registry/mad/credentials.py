"""credential.json of a repository, and the variables of the host that stand in for parts of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from madrun.errors import UsageError
from madrun.spec.credentials import DOCKERHUB, SPECIAL, Credentials
from madrun.spec.jsonfile import Unreadable, read_json

FILE_NAME = "credential.json"
_HUB = {"MAD_DOCKERHUB_USER": "username", "MAD_DOCKERHUB_PASSWORD": "password", "MAD_DOCKERHUB_REPO": "repository"}


def read(repository: Path, env: Mapping[str, str]) -> Credentials:
    """What is known. A file that cannot be read is an error only for whoever needs an entry of it.

    A variable of the host counts before the file; one that is not JSON is an error at once, for somebody has set it.
    """
    file = repository / FILE_NAME
    entries, problem = _entries(file)
    origins = dict.fromkeys(entries, str(file))
    for key in SPECIAL:
        if env.get(key, "").strip():
            entries[key] = _parsed(key, env[key])
            origins[key] = f"variable {key}"
    hub = {name: env[variable] for variable, name in _HUB.items() if env.get(variable)}
    if hub:
        known = entries.get(DOCKERHUB)
        entries[DOCKERHUB] = {**(known if isinstance(known, dict) else {}), **hub}
        origins[DOCKERHUB] = "variables MAD_DOCKERHUB_*"
    return Credentials(file=str(file), entries=entries, origins=origins, problem=problem)


def _entries(file: Path) -> tuple[dict[str, Any], str]:
    """The entries, and what is wrong with the file; never a word of its text, which holds secrets."""
    value: Any = {}
    problem = ""
    try:
        _, value = read_json(file)
    except FileNotFoundError:
        pass
    except Unreadable as error:
        problem = str(error)
    if not isinstance(value, dict):
        return {}, f"{file}: found {type(value).__name__}, allowed: an object of keys"
    return value, problem


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"variable {name}: not JSON at line {error.lineno}, column {error.colno}: {error.msg}; "
            "give it as in credential.json, or unset it"
        ) from None
