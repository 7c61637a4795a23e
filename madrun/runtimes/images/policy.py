"""What a command asks of images beyond having them: made anew, taken from a registry, and how to log in there."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from madrun.errors import UsageError
from madrun.runtimes.images.identity import split_reference
from madrun.spec.credentials import DOCKERHUB
from madrun.spec.plan import ImagePlan

HUB = "docker.io"
_HUB_NAMES = (DOCKERHUB, HUB, "index.docker.io", "registry-1.docker.io")


class Once:
    """What a command has done already, by name; several threads may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: set[str] = set()

    def first(self, name: str) -> bool:
        """True for the first who asks."""
        with self._lock:
            new = name not in self._done
            self._done.add(name)
            return new


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`fresh`: built without the builder's cache. `pull`: pulled although they lie here. Either once in a command.

    `registry`: where what is built is pushed, and looked for before. `logins`: username and password by registry.
    `shared`: the directory of image tars that all nodes see.
    """

    fresh: bool = False
    pull: bool = False
    registry: str = ""
    logins: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    once: Once = field(default_factory=Once)
    shared: Path | None = None

    def builds_anew(self, image: ImagePlan) -> bool:
        """Whether the image is to be built although it lies here; true once."""
        return self.fresh and image.kind == "build" and self.once.first(f"build {image.name}")

    def pulls_anew(self, name: str) -> bool:
        """Whether the image is to be pulled although it lies here; true once."""
        return self.pull and self.once.first(f"pull {name}")

    def login(self, name: str) -> dict[str, str] | None:
        """Username and password for the registry of the image; None where the user's docker configuration counts."""
        host = host_of(name)
        entry = self.logins.get(DOCKERHUB if host == HUB else host)
        if not entry or not entry.get("username") or not entry.get("password"):
            return None
        return {"username": entry["username"], "password": entry["password"]}

    def reference(self, image: ImagePlan) -> str:
        """The image's name in the registry; empty without one, and for an image that is not built.

        A login may name the one repository that it opens: then the image's own name becomes part of the tag.
        """
        if not self.registry or image.kind != "build":
            return ""
        host, _, path = self.registry.rstrip("/").partition("/")
        hub = host in _HUB_NAMES
        entry = self.logins.get(DOCKERHUB if hub else host) or {}
        one = path if hub else "" if path else entry.get("repository", "")
        one = one or (entry.get("repository", "") if hub else "")
        if hub and not one:
            raise UsageError(
                f"--registry: found {self.registry}, where images need a repository; allowed: {HUB}/USER/REPOSITORY, "
                "or its name in credential.json (dockerhub.repository) or MAD_DOCKERHUB_REPO"
            )
        if one:
            word = image.name.rpartition("/")[2].replace(":", "-")
            return f"{HUB if hub else host}/{one}:{word}"
        return f"{self.registry.rstrip('/')}/{image.name}"


def host_of(name: str) -> str:
    """The registry of a reference, as docker reads it: docker.io where the first part is no host."""
    first, slash, _ = split_reference(name.partition("@")[0])[0].partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else HUB
