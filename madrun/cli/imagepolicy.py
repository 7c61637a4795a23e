"""What the options of a command ask of images: --pull, --clean-docker-cache, --registry and how to log in there."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from madrun.cli.request import Request
from madrun.errors import UsageError
from madrun.registry.mad import credentials
from madrun.runtimes.images.policy import Policy
from madrun.spec.context import Layer

_REGISTRY = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?(/[a-z0-9._-]+)*/?")


def policy_of(request: Request, repository: Path, layers: Sequence[Layer] = ()) -> Policy:
    """The policy of the whole command: what is to be made anew is made anew once. `UsageError` for a wrong registry.

    `layers`: where the registry stands if it was not typed; the last one counts.
    """
    options = request.repository
    registry, where = _registry(options.registry, layers)
    known = credentials.read(repository, os.environ)
    logins = {key: entry for key in known.entries if (entry := _login(known.entries[key])) is not None}
    if registry:
        check_registry(registry, where)
        if known.problem:
            raise UsageError(f"{known.problem} ({where} may need a login from it)")
    return Policy(
        fresh=options.clean_docker_cache,
        pull=options.pull,
        registry=registry,
        logins=logins,
        shared=shared_images(),
    )


def _registry(typed: str | None, layers: Sequence[Layer]) -> tuple[str, str]:
    """The registry and who named it; empty without one."""
    if typed is not None:
        return typed, "--registry"
    said = [(layer.values["registry"], f"{layer.name}: registry") for layer in layers if "registry" in layer.values]
    value, where = said[-1] if said else (None, "")
    return ("" if value is None else str(value)), where


def shared_images() -> Path | None:
    """The directory of image tars that all nodes see; looked at when an image of a manifest is local_image."""
    named = os.environ.get("MAD_DOCKER_BUILDS", "")
    return Path(named) if named else None


def check_registry(text: str, where: str) -> None:
    """Raises `UsageError` where the text names no registry."""
    if not _REGISTRY.fullmatch(text):
        raise UsageError(
            f"{where}: found {text!r}, allowed: HOST, HOST:PORT or HOST/PATH in lower case, without http://, such as "
            "localhost:5000 or docker.io/team/images"
        )


def _login(entry: object) -> dict[str, str] | None:
    """The entry where it has a username and a password; other entries are no logins."""
    if not isinstance(entry, dict) or not entry.get("username") or not entry.get("password"):
        return None
    return {name: str(value) for name, value in entry.items()}
