"""What a repeated plan stands on here: its paths, its image and the bases of that, and its files' history."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from madrun.errors import ContextError
from madrun.planning import repeat
from madrun.spec.facts import GitState
from madrun.spec.plan import JobPlan, NodePlan


@dataclass(frozen=True, slots=True)
class ImageHere:
    """The image that has the plan's name today, empty where none has; ids of its bases by name, of then and of now."""

    identity: str = ""
    id: str = ""
    built_on: Mapping[str, str] = field(default_factory=dict)
    bases: Mapping[str, str] = field(default_factory=dict)

    def changes(self, then: str) -> list[str]:
        """What is known before the image is made again; an image that is not here is compared when it is."""
        moved = repeat.base_changes(self.built_on, self.bases)
        image = repeat.image_change(then, self.identity, self.id) if self.id else ""
        return [*moved, *([image] if image else [])]


def image_here(client: Any, job: JobPlan) -> ImageHere:
    """Looked up once; an image that was built elsewhere or is no build has no bases to compare."""
    from madrun.runtimes.images import BASES, identity_of
    from madrun.runtimes.images.identity import labels_of, recipe_or_id

    found = _inspect(client, job.image.name)
    if found is None:
        return ImageHere()
    if job.image.kind != "build":
        return ImageHere(identity_of(found, job.image.name), str(found["Id"]))
    built_on = _bases(labels_of(found).get(BASES, ""))
    lying = {name: _inspect(client, name) for name in built_on}
    bases = {name: str(base["Id"]) for name, base in lying.items() if base is not None}
    return ImageHere(recipe_or_id(found), str(found["Id"]), built_on, bases)


def _bases(label: str) -> dict[str, str]:
    """Ids by name out of a label that anybody may write."""
    try:
        found = json.loads(label or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def _inspect(client: Any, name: str) -> dict[str, Any] | None:
    if client is None:
        return None
    from docker.errors import APIError

    try:
        found: dict[str, Any] = client.inspect_image(name)
        return found
    except APIError:
        return None


def check_paths(node: NodePlan) -> None:
    """`ContextError` where a path that the plan mounts, or its data, has gone from this host."""
    for name, path in node.data_sources.items():
        origin = node.mirrors.get(name, "")
        remote = any(fetch.provider != "local" for fetch in node.fetches.get(name, ()))
        if not remote and not any(place and Path(place).exists() for place in (path, origin)):
            words = f"neither {origin} nor its mirror {path} exists" if origin else f"{path} does not exist"
            raise ContextError(
                f"--plan: data {name}: {words} on this host; put it there, or run the card without --plan"
            )
    for mount in node.container.mounts if node.container else ():
        known = mount.source in (*node.data_sources.values(), node.cache) or not mount.source.startswith("/")
        if not known and not Path(mount.source).exists():
            raise ContextError(
                f"--plan: {mount.source}, to be mounted at {mount.target}, does not exist on this host; put it there, "
                "or run the card without --plan"
            )


def there_again(was: GitState, repository: str, folder: Path) -> list[str]:
    """Commands that show how a folder differs from a commit, and that bring it back there without the rest."""
    if not was.commit:
        return []
    git, commit, place = f"git -C {shlex.quote(repository)}", was.commit[:12], shlex.quote(str(folder))
    shown = f"{git} diff {commit} -- {place} and {git} status --short -- {place} show how"
    if was.dirty:
        return [shown, "it had changes then that no commit holds"]
    return [shown, f"{git} checkout {commit} -- {place} brings its files back, and leaves files that are new"]
