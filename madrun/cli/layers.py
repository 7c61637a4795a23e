"""Reads the files behind the layers of configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from madrun.cli.privatevalues import put_back
from madrun.cli.request import Request
from madrun.errors import CardError, ContextError
from madrun.planning.layers import parse_text
from madrun.probe.environment import launched_by, user_folder
from madrun.spec.context import Layer
from madrun.spec.launch import LAYERS, SITE_FILE

USER_SITE_FILE = "site.yaml"


def site_layer(request: Request, repository: Path) -> list[Layer]:
    """The site file: `--site`, else in the repository, else in the user's configuration folder."""
    if request.site is not None:
        return [Layer(_known_as("--site", request.site), _read_map(Path(request.site).expanduser(), "--site"))]
    for path in (repository / SITE_FILE, user_folder("config") / USER_SITE_FILE):
        if path.is_file():
            return [Layer(f"site file {path}", _read_map(path, "site file"))]
    return []


def user_layers(request: Request) -> list[Layer]:
    """Context file, inline context, shorthands and flags, lowest first."""
    layers = []
    if request.additional_context_file is not None:
        file = Path(request.additional_context_file).expanduser()
        name = _known_as("--additional-context-file", str(file))
        layers.append(Layer(name, _read_map(file, "--additional-context-file")))
    if request.additional_context is not None:
        values = parse_text(request.additional_context, "--additional-context")
        layers.append(Layer("--additional-context", put_back(values, "--additional-context")))
    if request.env:
        values = put_back(_once("--env", map(_variable, request.env)), "--env")
        layers.append(Layer("--env", {"docker_env_vars": values}))
    if request.mount:
        layers.append(Layer("--mount", {"docker_mounts": _once("--mount", map(_mount, request.mount))}))
    if request.arg:
        layers.append(Layer("--arg", {"more_args": put_back(list(request.arg), "--arg")}))
    for word in request.set_key:
        layers.append(Layer("--set", put_back(set_values(word, "--set"), "--set")))
    for name, value in request.flags.items():
        layers.append(Layer(f"--{name.replace('_', '-')}", {name: value}))
    return layers


def _known_as(flag: str, file: str) -> str:
    """The name of a file's layer; on a node of a launch, which has a copy, that of the launching host's."""
    try:
        names = json.loads(os.environ.get(LAYERS, "{}")) if launched_by() else {}
    except ValueError:
        names = {}
    found = names.get(flag) if isinstance(names, dict) else None
    return found if isinstance(found, str) else f"{flag} {file}"


def set_values(word: str, flag: str) -> dict[str, Any]:
    """`slurm.time=2h` as `{"slurm": {"time": "2h"}}`; the value is read as YAML, so that lists can be given."""
    import yaml

    key, given, text = word.partition("=")
    parts = key.strip().split(".")
    if not given or not all(parts):
        raise ContextError(f"{flag}: found {word!r}, allowed: KEY=VALUE, where KEY is as madrun explain prints it")
    try:
        value: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # the latter for a date that there is not
        raise ContextError(f"{flag}: found {word!r}, whose value is no YAML: {error}") from None
    value = text if isinstance(value, (type(None), date)) or _is_odd(value, text.strip()) else value
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def _is_odd(value: object, text: str) -> bool:
    """Whether YAML found a number in what people write as text: a time `1:30:00`, an account `0123`."""
    return isinstance(value, (int, float)) and ":" in text or type(value) is int and str(value) != text


def _once(flag: str, entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The entries by name; `ContextError` where one name has two values."""
    found: dict[str, str] = {}
    for name, value in entries:
        if found.setdefault(name, value) != value:
            raise ContextError(f"{flag}: found {name} twice, with different values; allowed: one value for a name")
    return found


def _variable(word: str) -> tuple[str, str]:
    """`NAME=VALUE`, or `NAME` with the value that it has on this host, as `docker run --env` takes them."""
    name, given, value = word.partition("=")
    if given and name:
        return name, value
    if not name or name != name.strip():
        raise ContextError(f"--env: found the name {name!r}, allowed: NAME=VALUE, or NAME of a variable of this host")
    if name not in os.environ:
        raise ContextError(f"--env: {name} is not set on this host; set it, or give its value as --env {name}=VALUE")
    return name, os.environ[name]


def _mount(word: str) -> tuple[str, str]:
    """`HOST:CONTAINER[:ro]` as an entry of docker_mounts; a relative path of the host counts from here."""
    source, *rest = word.split(":")
    target, modes = (rest[0], rest[1:]) if rest else ("", [])
    if not source or not target.startswith("/") or modes not in ([], ["ro"], ["rw"]):
        raise ContextError(
            f"--mount: found {word!r}, allowed: HOST:CONTAINER or HOST:CONTAINER:ro, where CONTAINER is an absolute "
            "path; a path that holds a colon goes into docker_mounts of the context"
        )
    return target, ":".join((str(Path(source).expanduser().absolute()), *modes))


def _read_map(path: Path, flag: str) -> dict[str, Any]:
    """What the file says; a launch's own files hold references in the place of secrets."""
    return dict(put_back(_map_in(path, flag), f"{flag} {path}"))


def _map_in(path: Path, flag: str) -> dict[str, Any]:
    if not path.is_file():
        raise ContextError(f"{flag}: {path} does not exist or is not a file")
    if path.suffix.lower() in (".yaml", ".yml"):
        from madrun.registry.yamlsource import read_yaml

        try:
            value = read_yaml(path)
        except CardError as error:
            raise ContextError(f"{flag}: {error}") from None
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ContextError(f"{flag}: {path}: found {type(value).__name__}, allowed: a map of names to values")
        return value
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContextError(f"{flag}: {path} cannot be read: {error}") from None
    return parse_text(text, f"{flag} {path}")
