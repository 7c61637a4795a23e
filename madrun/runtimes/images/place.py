"""Where images lie, and who can build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from madrun.runtimes.images.policy import Policy
from madrun.spec.facts import Engine
from madrun.spec.plan import ImagePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildKitClient:
    """A docker client that can use BuildKit: its path, and the environment to start it with."""

    program: str
    env: Mapping[str, str]


class Claimed(Protocol):
    """The claim to write a file in a shared directory; `check` and `confirm` raise `DataError` where it was lost."""

    number: int
    done: int

    def check(self) -> None:
        """Asks now and then."""

    def confirm(self) -> None:
        """Asks anew."""

    def release(self) -> None:
        """Gives it back."""


Attempt = Callable[[], tuple[Claimed | None, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A client of the engine, what is known of it, and who else can build for it.

    `buildkit` looks for a docker client that can use BuildKit, and is asked only when there is something to build.
    `claims`: how this process tries for the claim to a file: the claim, else who has it in words.
    """

    client: Any
    lock_dir: Path
    engine: Engine | None = None
    buildkit: Callable[[], BuildKitClient | None] = lambda: None
    policy: Policy = field(default_factory=Policy)
    claims: Callable[[Path], Attempt] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a builder is to make: the image with its secret arguments filled in, what is sent, and the labels it gets.

    `text`: the Dockerfile as it is built. `fresh`: without the builder's cache.
    """

    image: ImagePlan
    context: Mapping[str, Path]
    labels: Mapping[str, str]
    text: str
    fresh: bool = False
