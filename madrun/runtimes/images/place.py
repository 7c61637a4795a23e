"""Where images lie, and who can build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from madrun.spec.facts import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildKitClient:
    """A docker client that can use BuildKit: its path, and the environment to start it with."""

    program: str
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A client of the engine, what is known of it, and who else can build for it.

    `buildkit` looks for a docker client that can use BuildKit, and is asked only when there is something to build.
    """

    client: Any
    lock_dir: Path
    engine: Engine | None = None
    buildkit: Callable[[], BuildKitClient | None] = lambda: None
